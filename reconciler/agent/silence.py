"""The server's silence, for scripts that are not to run without it: counted from when what it last answered was sent.

The clock goes on while the machine sleeps. Agent and shim have the same one, so that the shim needs nobody to judge.
"""

from __future__ import annotations

import time
from typing import Optional

from reconciler.protocol.session import SILENT_INTERVALS

CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
GRACE = 5.0  # seconds before the end of the silence at which SIGTERM is sent; SIGKILL comes at its end
LOOK_AGAIN = 1.0  # seconds between two looks at the clock, since no timer goes on while the machine sleeps


def now() -> float:
    """Return the seconds since the machine was started, also of those in which it slept."""
    return time.clock_gettime(CLOCK)


class Silence:
    """How long the server may not be heard, and since when it was not."""

    def __init__(self, heard_at: float, interval: float) -> None:
        self._silence_max: Optional[float] = None
        self._heard_at = min(heard_at or now(), now())
        self._interval = interval

    def bound(self, silence_max: Optional[float]) -> None:
        """Let it last so many seconds; None is for ever."""
        self._silence_max = silence_max

    def hear(self, heard_at: float, interval: float) -> None:
        """Take that the server has answered what was sent at `heard_at`, and is asked each `interval` seconds."""
        self._heard_at = max(self._heard_at, min(heard_at, now()))
        self._interval = interval

    @property
    def seconds_max(self) -> Optional[float]:
        """Return how long it may last, None if that does not matter: never less than the server's own patience."""
        if self._silence_max is None:
            return None
        return max(self._silence_max, SILENT_INTERVALS * self._interval)

    def grace(self) -> Optional[float]:
        """Return the seconds that a script has left whose time has come; None while it has not."""
        seconds = self.seconds_max
        if seconds is None:
            return None
        left = self._heard_at + seconds - now()
        return max(0.0, left) if left <= min(GRACE, seconds / 2) else None
