"""The patterns by which a space chooses its files: `*` within a folder, `**` across folders."""

import re
from collections.abc import Iterable

SPACE_FILE = "reconcile.yaml"
"""Where a space says how it is read, at its root."""

_TOKEN = re.compile(r"(?P<across>\*\*/)|(?P<rest>\*\*)|(?P<any>\*)|(?P<one>\?)|(?P<set>\[[^\]/]+\])")


def matcher(include: Iterable[str], exclude: Iterable[str]) -> "re.Pattern[str]":
    """Return one pattern for the paths that `include` names and `exclude` does not; hidden folders never match."""
    chosen = "|".join(_translated(glob) for glob in include) or "(?!)"
    refused = "|".join(_translated(glob) for glob in exclude) or "(?!)"
    return re.compile(rf"(?!(?:.*/)?\.[^/]*/)(?!(?:{refused})\Z)(?:{chosen})\Z", re.DOTALL)


def _translated(glob: str) -> str:
    parts: list[str] = []
    end = 0
    for found in _TOKEN.finditer(glob):
        parts += [re.escape(glob[end : found.start()]), _token(found)]
        end = found.end()
    return "".join([*parts, re.escape(glob[end:])])


def _token(found: "re.Match[str]") -> str:
    match found.lastgroup:
        case "across":
            return "(?:[^/]+/)*"
        case "rest":
            return ".*"
        case "any":
            return "[^/]*"
        case "one":
            return "[^/]"
    inside = found[0][1:-1].replace("\\", "\\\\")
    return (
        f"[^{inside[1:]}]"
        if inside[0] == "!" and len(inside) > 1
        else f"[{re.escape(inside).replace(chr(92) + '-', '-')}]"
    )
