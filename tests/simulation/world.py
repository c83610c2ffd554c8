"""A world for one task: a store that dies at a chosen write, and a worker that remembers what it has started."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.logs import LogStore
from reconciler.execute.watching import Unwatched
from reconciler.model.live import Slot, StepRun, Task
from reconciler.model.pinned import Pinned
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import (
    Digest,
    Ended,
    Ending,
    Final,
    Offered,
    Output,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
    TicketState,
)
from reconciler.schedule.fleet import BUILTIN
from reconciler.store import attempts, tasks
from reconciler.store.directory import DataDirectory
from reconciler.store.keys import sealer
from reconciler.store.writer import Store

NO_LOG = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


class Killed(Exception):
    """The engine is dead: nothing of it runs any more."""


@dataclass
class Fate:
    """When the engine dies: at its write number `at`, before it is made or right after it was committed."""

    at: int
    after: bool
    writes: int = 0
    death: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def dead(self) -> bool:
        return self.death.is_set()


class MortalStore:
    """The real store, until its fate."""

    def __init__(self, store: Store, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    async def read(self, work):
        self._check()
        found = await self._store.read(work)
        self._check()
        return found

    async def write(self, work):
        self._check()
        self._fate.writes += 1
        dies = self._fate.writes == self._fate.at
        if dies and not self._fate.after:
            self._die()
        found = await self._store.write(work)
        if dies:
            self._die()
        self._check()
        return found

    def _check(self) -> None:
        if self._fate.dead:
            raise Killed

    def _die(self) -> None:
        self._fate.death.set()
        raise Killed


@dataclass
class Script:
    """How a step's attempts end, one after the other; the last one repeats."""

    endings: tuple[Ending, ...]

    def ending(self, number: int) -> Ending:
        return self.endings[min(number, len(self.endings)) - 1]


@dataclass
class Worker:
    """A worker that outlives engines: it starts each ticket once, and tells each ending until it is forgotten."""

    scripts: Mapping[int, Script]
    chance: random.Random
    started: Counter[TicketId] = field(default_factory=Counter)
    starts: Counter[int] = field(default_factory=Counter)
    states: dict[TicketId, TicketState] = field(default_factory=dict)
    forgotten: set[TicketId] = field(default_factory=set)
    intake: Dispatcher | None = None
    told: set[asyncio.Task[None]] = field(default_factory=set)
    wishes: list[Callable[[], None]] = field(default_factory=list)
    """What an engine wants before it has met the worker: done after the inventory, as a link does."""

    async def connect(self, dispatcher: Dispatcher, epoch: int) -> None:
        """Meet an engine: the inventory first, then every ending again."""
        reports = {ticket: TicketReport(ticket, state) for ticket, state in self.states.items()}
        await dispatcher.connected(BUILTIN, Connected(Hello((1,), "store", "boot", 1, 0), epoch, reports), "")
        self.intake = dispatcher
        for state in list(self.states.values()):
            if isinstance(state, Ended):
                await dispatcher.finished(BUILTIN, state.final)
        for wish in self.wishes:
            wish()
        self.wishes.clear()

    def part(self) -> None:
        """Lose the engine."""
        self.intake = None
        self.told.clear()
        self.wishes.clear()

    # What a link takes.

    def expect(self, spec: TicketSpec) -> None:
        """Nothing is printed here, so no log grows too long."""

    def offer(self, spec: TicketSpec) -> None:
        if self.intake is None:
            self.wishes.append(lambda: self.offer(spec))
        elif spec.ticket not in self.states and spec.ticket not in self.forgotten:
            self.states[spec.ticket] = Offered()
            self._tell(self._report(spec.ticket))

    def offer_again(self, spec: TicketSpec) -> None:
        self.offer(spec)

    def start(self, ticket: TicketId, secrets: Secrets) -> None:
        if self.intake is None:
            self.wishes.append(lambda: self.start(ticket, secrets))
            return
        if not isinstance(self.states.get(ticket), Offered):
            return
        self.started[ticket] += 1
        step, number = (int(part) for part in ticket.split("-")[1:3])
        self.starts[step - 1] += 1
        self.states[ticket] = Running()
        self._tell(self._report(ticket))
        outputs = (Output("number", str(number)),)
        final = Final(ticket, self.scripts[step - 1].ending(number), 0, NO_LOG, outputs)
        self.states[ticket] = Ended(final)
        self._tell(self._finish(final, times=self.chance.choice([1, 1, 2])))

    def cancel(self, ticket: TicketId, grace: float) -> None:
        """Nobody here cancels anything."""
        raise AssertionError(f"{ticket} was cancelled, and nobody wanted that")

    def void(self, ticket: TicketId) -> None:
        """No attempt is ever void here."""

    def forget(self, ticket: TicketId) -> None:
        self.states.pop(ticket, None)
        self.forgotten.add(ticket)

    def _tell(self, telling) -> None:
        task = asyncio.ensure_future(telling)
        self.told.add(task)
        task.add_done_callback(self.told.discard)

    async def _report(self, ticket: TicketId) -> None:
        if self.intake is not None and ticket in self.states:
            await self.intake.reported(BUILTIN, TicketReport(ticket, self.states[ticket]))

    async def _finish(self, final: Final, times: int) -> None:
        for _ in range(times):
            if self.intake is not None:
                await self.intake.finished(BUILTIN, final)


@dataclass(frozen=True)
class Outcome:
    """What is compared with an undisturbed run."""

    state: str
    reason: str
    steps: tuple[tuple[str, str], ...]
    attempts: tuple[tuple[int, int, str], ...]


class World:
    """One queued task in a real store, its worker, and engines that come and go."""

    def __init__(self, folder: Path, pinned: Pinned, scripts: Mapping[int, Script], chance: random.Random) -> None:
        self.files = DataDirectory(folder)
        self.files.create()
        self.store = Store.open(str(folder), folder)
        self.worker = Worker(scripts, chance)
        self.epoch = 0
        self.task = self.store.write_now(lambda tx: _queued(tx, pinned))

    async def live(self, fate: Fate) -> bool:
        """Let an engine live until its fate or the task's end; True where the task has ended."""
        self.epoch += 1
        key = await self.store.write(lambda tx: sealer(tx, self.files.key))
        mortal = MortalStore(self.store, fate)
        grounds = Grounds(mortal, LogStore(self.files.logs), self.files.blobs, self.files.root, key, Unwatched())
        grounds.links[BUILTIN] = self.worker
        dispatcher = Dispatcher(grounds)
        lives: set[asyncio.Future] = set()
        try:
            await dispatcher.resume()
            await self.worker.connect(dispatcher, self.epoch)
            settled = asyncio.ensure_future(dispatcher.settled({self.task.id}, people=True))
            running = asyncio.ensure_future(dispatcher.run())
            lives = {running, asyncio.ensure_future(fate.death.wait()), settled}
            await asyncio.wait(lives, return_when="FIRST_COMPLETED")
            if running.done():
                running.result()  # a fault of the engine is none of its deaths
            return settled.done() and settled.exception() is None
        except BaseException as error:
            if not _was_killed(error):
                raise
            return False
        finally:
            self.worker.part()
            await _bury(lives)

    def outcome(self) -> Outcome:
        task: Task = self.store.read_now(lambda tx: tasks.task(tx, self.task.id))
        runs: list[StepRun] = self.store.read_now(lambda tx: tasks.steps(tx, self.task.id))
        tries = self.store.read_now(lambda tx: attempts.attempts(tx, self.task.id))
        return Outcome(
            task.state,
            task.reason,
            tuple((run.key, run.state.value) for run in runs),
            tuple((item.step, item.number, item.state.value) for item in tries),
        )


def _was_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_was_killed(inner) for inner in error.exceptions)
    return isinstance(error, Killed | asyncio.CancelledError)


async def _bury(lives: Iterable[asyncio.Future]) -> None:
    """End everything that the dead engine left running in this process."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, *lives, return_exceptions=True)


def _queued(tx, pinned: Pinned) -> Task:
    return tasks.queue(
        tx,
        deployment=pinned.deployment_name,
        slot=Slot(pinned.deployment.project, pinned.deployment.environment),
        release=pinned.deployment.release,
        digest="0" * 64,
        pin=tasks.pin(tx, pinned.canonical()),
        revision="",
        at=0.0 + 2**31,
    )
