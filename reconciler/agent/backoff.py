"""How long to wait before the next try: full jitter under a doubling bound, and never less than the server asks for."""

from __future__ import annotations

import os

FIRST = 0.5  # seconds
LONGEST = 30.0  # a server that is back is found within this
LONGEST_BUSY = 60.0  # where it has asked for patience
TOLD_SHARE = 0.2  # of the time that the server has named, so that those it refused at once do not come at once
DOUBLINGS_MAX = 10  # past any bound


class Backoff:
    """Counts the tries in a row that came to nothing."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Take that a session stood."""
        self._failures = 0

    def delay(self, *, retry_after: float = 0.0, busy: bool = False) -> float:
        """Return the seconds to wait after one more failure."""
        bound: float = min(FIRST * 2 ** min(self._failures, DOUBLINGS_MAX), LONGEST_BUSY if busy else LONGEST)
        if retry_after > 0.0 and not busy:
            bound = min(bound, retry_after * TOLD_SHARE)
        self._failures += 1
        return max(0.0, retry_after) + bound * chance()


def chance() -> float:
    """Return a number from 0 to 1 by chance; the module `random` takes 200 kB."""
    return int.from_bytes(os.urandom(4), "big") / 2**32
