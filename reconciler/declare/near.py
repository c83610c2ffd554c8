"""How far two short words are apart: near misses of a header must not silently un-declare a machine."""

import difflib
from collections.abc import Iterable

ALIKE = 0.6
"""How alike two words must be, from 0 to 1, for one to be a slip of the other; as `did_you_mean` has it."""


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is most like `given`, or None where none is."""
    found = difflib.get_close_matches(given, list(known), n=1, cutoff=ALIKE)
    return found[0] if found else None


def within_two(given: str, wanted: str) -> bool:
    """Say whether at most two letters are changed, added, left out or swapped with their neighbour."""
    if abs(len(given) - len(wanted)) > 2:
        return False
    before: list[int] = []
    row = list(range(len(wanted) + 1))
    for i, letter in enumerate(given, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(wanted, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == wanted[j - 2] and given[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1] <= 2
