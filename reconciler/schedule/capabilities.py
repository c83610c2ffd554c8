"""What a step requires of a machine, against what its agent found and its document declares."""

from collections.abc import Mapping

from reconciler.model.text import COMPARISON, VERSION


def unmet(name: str, wanted: str, capabilities: Mapping[str, str]) -> str | None:
    """Say why the capabilities do not meet a requirement, or None if they do.

    What is wanted is empty or `*` for any version, `>=1.5`, `>=1.5,<2`, or a value that must be equal.
    """
    found = capabilities.get(name)
    if found is None:
        return f"has no {name}"
    if not all(_holds(part, found) for part in wanted.split(",")):
        return f"has {name} {found or 'of an unknown version'}, and {wanted} is required"
    return None


def _holds(part: str, found: str) -> bool:
    matched = COMPARISON.fullmatch(part)
    assert matched is not None, "every text matches"
    sign, wanted = matched[1], matched[2]
    if wanted in {"", "*"} and sign is None:
        return True
    here, there = _numbers(found), _numbers(wanted)
    if sign in {None, "=", "=="}:
        return found == wanted or (here is not None and here == there)
    if sign == "!=":
        return found != wanted and (here is None or here != there)
    if here is None or there is None:
        return False
    return {">=": here >= there, "<=": here <= there, ">": here > there, "<": here < there}[sign]


def _numbers(text: str) -> tuple[int, ...] | None:
    """Return a version's leading numbers without zeros at the end, so that 1.5 equals 1.5.0."""
    matched = VERSION.match(text)
    if matched is None:
        return None
    numbers = [int(number[:18]) for number in matched[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
