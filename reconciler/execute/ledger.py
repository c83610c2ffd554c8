"""The ledger of one task: starts and ends of attempts wait here for a write that they share a commit with.

An end waits for the move that follows from it, a start for the end, if that comes soon.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.execute.records import start_attempts
from reconciler.model.live import Attempt, StepRun
from reconciler.protocol.tickets import Final
from reconciler.store.database import T, Transaction, Work
from reconciler.store.writer import Store

START_RECORDED_WITHIN = 0.02
"""Seconds after the first sign that an attempt has started: one that has ended by then needs one commit, not two."""


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that has ended, how that is recorded, and who waits for the record."""

    attempt: Attempt
    final: Final = field(repr=False)
    record: Work[StepRun]
    lost: bool = False
    """It is given up, and may live."""
    recorded: asyncio.Event = field(default_factory=asyncio.Event)


class Ledger:
    """Writes for one task; each takes everything along that was added before it, so that nothing follows from less.

    `take` is told of each end that is recorded, `wake` is called when something waits no longer for another write.
    """

    def __init__(self, store: Store, take: Callable[[Ending, StepRun], None], wake: Callable[[], None]) -> None:
        self._store = store
        self._take = take
        self._wake = wake
        self._starts: list[Attempt] = []  # both as many as steps that run side by side
        self._endings: list[Ending] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self, attempt: Attempt) -> None:
        """Let a write soon record that `attempt` has started."""
        self._starts.append(attempt)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(START_RECORDED_WITHIN, self._wake)

    def end(self, ending: Ending) -> None:
        """Let the next write record `ending`."""
        self._endings.append(ending)
        self._wake()

    async def write(self, work: Work[T]) -> T:
        """Record what waits and run `work`, in one transaction; the ends are taken in before this returns.

        What `work` raises is raised here; then nothing is recorded, and what waited waits on.
        """
        starts, self._starts = self._starts, []
        endings, self._endings = self._endings, []
        begin = start_attempts(tuple(starts))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        def together(tx: Transaction) -> tuple[list[StepRun], T]:
            begin(tx)
            return [ending.record(tx) for ending in endings], work(tx)

        try:
            runs, result = await self._store.write(together)
        except Exception:
            self._starts[:0], self._endings[:0] = starts, endings
            raise
        for ending, run in zip(endings, runs, strict=True):
            self._take(ending, run)
            ending.recorded.set()
        return result

    async def flush(self) -> None:
        """Record what should wait no longer: every end, and starts that were seen a while ago."""
        is_due = self._timer is not None and self._timer.when() <= asyncio.get_running_loop().time()
        if self._endings or is_due:
            await self.write(lambda tx: None)
