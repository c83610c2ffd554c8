"""The ledger of one task: starts and ends of attempts wait here for a write that they share a commit with.

An end waits for the move that follows from it, a start for the end, if that comes soon.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from reconciler.execute.attempt_records import Ending, Entry, Granted, Granting
from reconciler.model.live import Attempt, StepRun
from reconciler.store.database import T, Work
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store

START_RECORDED_WITHIN = 0.02
"""Seconds after the first sign that an attempt has started: one that has ended by then needs one commit, not two."""


class Ledger:
    """Writes for one task; each takes everything along that was added before it, so that nothing follows from less.

    `take` is told of each end that is recorded, `wake` is called when something waits no longer for another write.
    """

    def __init__(
        self, store: Store, sealer: Sealer, take: Callable[[Ending, StepRun], None], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._take = take
        self._wake = wake
        self._starts: dict[str, float] = {}  # both as many as steps that run side by side
        self._endings: list[Ending] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self, attempt: Attempt) -> None:
        """Let a write soon record that `attempt` has started."""
        assert attempt.started_at is not None
        self._starts[attempt.ticket] = attempt.started_at
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(START_RECORDED_WITHIN, self._wake)

    def end(self, ending: Ending) -> None:
        """Let the next write record `ending`."""
        self._endings.append(ending)
        self._wake()

    async def grant(self, granting: Granting) -> Granted | None:
        """Record what waits and grant an attempt; None, and what waited is recorded all the same, where it is refused."""
        granted: Granted | None = await self._write(granting)
        return granted

    async def write(self, work: Work[T]) -> T:
        """Record what waits and run `work`, in one transaction; the ends are taken in before this returns.

        What `work` raises is raised here; then nothing is recorded, and what waited waits on.
        """
        result: T = await self._write(work)
        return result

    async def _write(self, work: Work[T] | Granting) -> Any:
        starts, self._starts = self._starts, {}
        endings, self._endings = self._endings, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            runs, result = await self._store.write(Entry(starts, endings, self._sealer, work))
        except Exception:
            self._starts, self._endings[:0] = {**starts, **self._starts}, endings
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
