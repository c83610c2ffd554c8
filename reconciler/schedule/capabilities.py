"""What a step requires of a machine, against what its agent found and its document declares."""

import re
from collections.abc import Iterable, Mapping

_PART = re.compile(r"\s*(>=|<=|==|!=|>|<|=)?\s*(.*?)\s*")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")


def unmet(requires: Iterable[tuple[str, str]], capabilities: Mapping[str, str]) -> str | None:
    """Say which requirement the capabilities do not meet, or None.

    A requirement is a name and a text: empty or `*` for any version, `>=1.5`, `>=1.5,<2`, or a value that must be equal.
    """
    for name, wanted in requires:
        found = capabilities.get(name)
        if found is None:
            return f"has no {name}"
        if not all(_holds(part, found) for part in wanted.split(",")):
            return f"has {name} {found or 'of an unknown version'}, and {wanted} is required"
    return None


def is_requirement(text: str) -> bool:
    """Say whether a requirement means something: each part of it that compares names a version."""
    parts = [_PART.fullmatch(part) for part in text.split(",")]
    return all(part is not None and (part[1] in {None, "=", "==", "!="} or _VERSION.match(part[2])) for part in parts)


def _holds(part: str, found: str) -> bool:
    matched = _PART.fullmatch(part)
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
    matched = _VERSION.match(text)
    if matched is None:
        return None
    numbers = [int(number[:18]) for number in matched[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
