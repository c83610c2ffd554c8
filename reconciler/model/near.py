"""What a person may have meant: how far two short words are apart, and which known word a given one is a slip of."""

import difflib
from collections.abc import Iterable

ALIKE = 0.6
"""How alike two words must be, from 0 to 1, to be looked at more closely: quick to know of many words."""

LOOKED_AT_MAX = 3
"""Of the words that are alike."""

PREFIX_MIN = 3
"""Letters: `prod` means `production`, and `p` anything."""


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `given` is a slip or a shortening of, or None where none is."""
    words = list(known)
    alike = difflib.get_close_matches(given, words, n=LOOKED_AT_MAX, cutoff=ALIKE)
    found = next((word for word in alike if _is_slip(given, word)), None)
    if found is None and len(given) >= PREFIX_MIN:
        return min((word for word in words if word.startswith(given)), key=lambda word: (len(word), word), default=None)
    return found


def _is_slip(given: str, word: str) -> bool:
    """Say whether a third of the letters are wrong at most, or the word goes on too long; of a path the last part counts."""
    last = given.rpartition("/")[2]
    if given.startswith(word) or last == word.rpartition("/")[2]:
        return True
    return distance(given, word) <= max(1, len(last) // 3)


def within_two(given: str, wanted: str) -> bool:
    """Say whether at most two letters are changed, added, left out or swapped with their neighbour."""
    return abs(len(given) - len(wanted)) <= 2 and distance(given, wanted) <= 2


def distance(given: str, wanted: str) -> int:
    """Count the letters that are changed, added, left out or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(wanted) + 1))
    for i, letter in enumerate(given, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(wanted, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == wanted[j - 2] and given[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
