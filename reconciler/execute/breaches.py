"""Breaches: what a worker's agent did in its session that no honest one does; counted each time, told now and then."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.execute.counts import Counts
from reconciler.execute.watching import Breached, Watcher
from reconciler.execute.wording import sentence

TOLD_EACH = 60.0  # seconds between two lines on one worker and kind
TOLD_MAX = 1000  # pairs of worker and kind that are remembered; workers are declared, and kinds are few

FOREIGN_TICKET = "foreign ticket"
FOREIGN_FILE = "foreign file"
MALFORMED = "malformed"
LOG_TOO_LONG = "log too long"
ARTIFACT_TOO_LARGE = "artifact too large"


@dataclass(slots=True)
class _Told:
    """When a line was written last, on the clock, and how many breaches came since."""

    at: float
    since: int = 0


class Breaches:
    """Counts by kind, and tells `watcher` at most once per worker, kind and `TOLD_EACH` seconds."""

    def __init__(self, counts: Counts, watcher: Watcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._watcher = watcher
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def note(self, worker: str, kind: str, reason: str) -> None:
        """Take a breach; `reason` is a sentence, in which anything may stand that an agent said."""
        self._counts.rejects[kind] += 1
        now = self._clock()
        told = self._told.get((worker, kind))
        if told is not None and now - told.at < TOLD_EACH:
            told.since += 1
            return
        self._told[worker, kind] = _Told(now)
        self._told.move_to_end((worker, kind))
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        self._watcher.see(Breached(worker, kind, 1 if told is None else told.since + 1, sentence(reason)))
