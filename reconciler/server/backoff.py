"""How long to wait before something that failed is tried again."""

DOUBLINGS_MAX = 30
"""Past any bound; what stays away for a week is tried thousands of times."""


def pause(tries: int, first: float, most: float) -> float:
    """Return the seconds to wait after so many tries in a row that failed: `first`, doubled by each, `most` at most."""
    return min(most, first * 2.0 ** min(tries - 1, DOUBLINGS_MAX))
