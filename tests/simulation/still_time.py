"""Time that stands still: the package's clocks and an event loop, moved by whoever conducts the world."""

import asyncio
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BEGINNING = 2_000_000_000.0
"""Seconds since the epoch at which every world begins."""


class Clock:
    """Stands in for the module `time` within the package; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return BEGINNING + self.now

    def clock_gettime(self, _: int) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let every module of the package see this clock."""
        readers = [module for name, module in sys.modules.items() if name.startswith("reconciler.")]
        readers = [module for module in readers if getattr(module, "time", None) is time]
        for module in readers:
            module.time = self
        try:
            yield
        finally:
            for module in readers:
                module.time = time


class _Deaf(selectors.SelectSelector):
    """Never waits, and hears of nothing: all input comes from the world."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a disk, and who waits for it."""

    what: str
    work: Callable[[], object]
    done: asyncio.Future[object]


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop on a still clock; what it would give to threads waits as jobs for the world."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Deaf())
        self._still = clock
        self.jobs: deque[Job] = deque()

    def time(self) -> float:
        return self._still.now

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> asyncio.Future[object]:
        """Take a job instead of running it on a thread."""
        return self.job("sync", lambda: func(*args))

    def job(self, what: str, work: Callable[[], object]) -> asyncio.Future[object]:
        """Let the world do some work when it comes to it."""
        done: asyncio.Future[object] = self.create_future()
        self.jobs.append(Job(what, work, done))
        return done

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due, of those that were not cancelled."""
        return min((timer.when() for timer in self._scheduled if not timer.cancelled()), default=None)

    async def come_to_rest(self) -> bool:
        """Let everyone run who can; say whether anyone did."""
        moved = False
        while True:
            await asyncio.sleep(0)
            if not self._ready and not any(
                timer.when() <= self._still.now and not timer.cancelled() for timer in self._scheduled
            ):
                return moved
            moved = True
