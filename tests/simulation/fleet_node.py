"""One server of a fleet: its process, its disk for logs, its lead among several, and its ways to store and workers."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.errors import Deposed, StateUnreadable
from reconciler.protocol.tickets import TicketId
from reconciler.server.engine.leading import Lead, Led
from reconciler.server.standby import LOOK_SECONDS
from reconciler.store import leadership
from tests.simulation.fleet_engine import DiallingCarrier, Engine
from tests.simulation.fleet_store import NodeStore, out_of_reach
from tests.simulation.server_end import EngineStore
from tests.simulation.still_time import Job, StillLoop

if TYPE_CHECKING:
    from tests.simulation.fleet_world import Event, FleetWorld

RESTART_AFTER = 1.0
"""Seconds until a killed server is there again."""

TRIED_FOR = 30.0
"""Seconds for which the store tries to reach a database."""


class Node:
    """One server; alone it always leads, among several it stands by until nobody else does."""

    def __init__(self, world: "FleetWorld", name: str, folder: Path, *, is_alone: bool) -> None:
        self.world, self.name, self._is_alone = world, name, is_alone
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, mode=0o700)
        self.loop = StillLoop(world.clock)
        self.engine: Engine | None = None
        self.up_from = self.paused_until = self.cut_until = self.slow_until = 0.0
        self._identity = leadership.Node(name, f"the files of {name}")
        self._store: NodeStore | None = None
        self._lead: Lead | None = None
        self._renews_at = self._looks_at = 0.0
        self._is_free = False
        """Did nobody lead when it looked last?"""
        self._stuck: dict[int, float] = {}  # by job, when it was tried first while the store is out of reach

    @property
    def runs(self) -> bool:
        """Is the process not paused?"""
        return self.world.clock.now >= self.paused_until

    @property
    def is_cut(self) -> bool:
        """Is the store out of its reach?"""
        return self.world.clock.now < self.cut_until

    @property
    def epoch(self) -> int:
        """The epoch that its engine believes to lead under; 0 without one."""
        return self._store.epoch if self.engine is not None and self._store is not None else 0

    @property
    def is_calm(self) -> bool:
        """Does an engine stand that has all it has asked for?"""
        return self.engine is not None and self.runs and not self.is_cut and not self.loop.jobs

    @property
    def could_lead(self) -> bool:
        """Does it stand by, with all that a leader needs?"""
        return self.engine is None and self.runs and not self.is_cut and self.world.clock.now >= self.up_from

    @property
    def could_renew(self) -> bool:
        """Can its engine renew the lead?"""
        return self.engine is not None and self.runs and not self.is_cut and self.engine.failure is None

    # Events.

    def events(self) -> "Iterator[Event]":
        """Yield what can happen here now."""
        now = self.world.clock.now
        if not self.runs:
            return
        name = "server" if self._is_alone else self.name
        if now >= self.slow_until:
            for what in ("write", "sync", "read"):
                job = next((job for job in self.loop.jobs if job.what == what), None)
                if job is not None and not (self.is_cut and what != "sync"):
                    yield f"{name} {what}", partial(self._do, job)
        if self._is_alone:
            if self.engine is None and now >= self.up_from:
                yield "server starts", self._start_alone
        elif self.engine is None:
            if self._is_free and self.could_lead:
                yield f"{name} takes the lead", self._take_the_lead
        else:
            for worker, carrier in self.engine.dials.items():
                yield f"{name} dials {worker}", partial(self._dial, worker, carrier)

    def moments(self) -> Iterator[float]:
        """Yield when time itself changes something here."""
        yield from (self.up_from, self.paused_until, self.cut_until, self.slow_until)
        if not self.runs:
            return
        if (timer := self.loop.next_timer) is not None:
            yield timer
        if not self._is_alone and not self.is_cut:
            yield self._looks_at if self.engine is None else self._renews_at
        yield from (since + TRIED_FOR for since in self._stuck.values())

    def _do(self, job: Job) -> None:
        self.loop.jobs.remove(job)
        try:
            found = job.work()
        except Exception as error:  # goes to whoever waits for it
            if not job.done.cancelled():
                job.done.set_exception(error)
            elif self._is_alone or not isinstance(error, Deposed):
                raise
        else:
            if not job.done.cancelled():
                job.done.set_result(found)

    def _start_alone(self) -> None:
        self.world.heard_logs(self)
        self.engine = Engine(EngineStore(self.world.books, self.loop), self.logs, self.loop, list(self.world.hosts))

    def _take_the_lead(self) -> None:
        self._is_free = False
        store = NodeStore(self.world.books, self.loop, self.name, self.world.leads)
        try:
            lead = Lead.take(store, self._identity)
        except Led:
            return
        store.epoch, self._store, self._lead = lead._epoch, store, lead
        self._renews_at = self.world.clock.now + leadership.RENEW_EACH
        self.world.heard_logs(self)
        workers, listening = list(self.world.hosts), self.world.listening
        self.engine = Engine(store, self.logs, self.loop, workers, dialled=listening, lead=lead)
        self.world.disturb()

    def _dial(self, worker: str, carrier: DiallingCarrier) -> None:
        carrier.answer(worker, self.world.hosts[worker].answer(self))

    # What it does by itself.

    def rest(self) -> bool:
        """Let everybody here do what he can by himself; say whether anyone did."""
        if not self.runs:
            return False
        moved = self.loop.run_until_complete(self.loop.come_to_rest())
        if self.engine is not None and self.engine.failure is not None:
            self._fail(self.engine.failure)
            return True
        if not self._is_alone:
            moved |= self._look_after_store() or self._look_after_lead()
        return moved

    def _fail(self, failure: BaseException) -> None:
        """End an engine as the server does: one that was deposed stands by, one without a store is started again."""
        causes = list(_leaves(failure))
        if self._is_alone or not all(isinstance(cause, Deposed | StateUnreadable) for cause in causes):
            raise failure
        is_deposed = isinstance(causes[0], Deposed)
        self.world.note(f"{self.name} is deposed" if is_deposed else f"{self.name} has no store")
        self._end()
        self.up_from = self.world.clock.now + (0.0 if is_deposed else RESTART_AFTER)

    def _look_after_store(self) -> bool:
        """Let the store give up what it could not write for too long; say whether it did."""
        now, engine = self.world.clock.now, self.engine
        if self._store is not None:
            self._store.is_cut = self.is_cut
        if engine is None or not self.is_cut:
            self._stuck.clear()
            return False
        tried = [job for job in self.loop.jobs if job.what != "sync"]
        self._stuck = {id(job): self._stuck.get(id(job), now) for job in tried}
        late = [job for job in tried if now >= self._stuck[id(job)] + TRIED_FOR]
        for job in late:
            self.loop.jobs.remove(job)
            del self._stuck[id(job)]
            if not job.done.cancelled():
                job.done.set_exception(out_of_reach())
        return bool(late)

    def _look_after_lead(self) -> bool:
        """Renew the lead, or look who has it; say whether that has changed anything."""
        now = self.world.clock.now
        if self.is_cut:
            return False
        if self.engine is None:
            if now >= max(self._looks_at, self.up_from):
                self._looks_at = now + LOOK_SECONDS
                found = self.world.books.read(lambda tx: leadership.leader(tx, self.world.clock.time()))
                self._is_free = found is None or found.node.files == self._identity.files
        elif now >= self._renews_at:
            assert self._lead is not None
            self._renews_at = now + leadership.RENEW_EACH
            self._lead._thread.turn(self._lead._ends)
        return False

    # Faults.

    def kill(self, *, after_next: bool = False, power: bool = False) -> None:
        """Kill the engine: before its next job for the disk or, unseen by it, after; `power`: lose what is not synced."""
        if after_next and self.loop.jobs:
            with suppress(Deposed):
                self.loop.jobs.popleft().work()
        if power:
            for host in self.world.hosts.values():
                host.lose_server(self)
        self._end()
        if power:
            self.world.disk.cut_power(self.logs)
        self.up_from = self.world.clock.now + RESTART_AFTER

    def stop(self, seconds: float) -> None:
        """End the engine as SIGTERM does, and give the lead back; it is started again after so long."""
        assert self.engine is not None
        assert self._lead is not None
        ending = self.engine.stop()
        while self.loop.jobs or not all(task.done() for task in ending):
            for job in list(self.loop.jobs):
                self._do(job)
            self.loop.run_until_complete(self.loop.come_to_rest())
        self._lead.__exit__(None, None, None)
        self._end()
        self.up_from = self.world.clock.now + seconds

    def pause(self, seconds: float, *, after_write: bool) -> None:
        """Stop the process for so long, maybe when its next write is made and nobody here knows it yet."""
        job = next((job for job in self.loop.jobs if job.what == "write"), None)
        if after_write and job is not None:
            self._do(job)
        self.paused_until = self.world.clock.now + seconds

    def cut(self, seconds: float, *, after_write: bool) -> None:
        """Put the store out of reach for so long, maybe in the middle of a commit which has arrived."""
        job = next((job for job in self.loop.jobs if job.what == "write"), None)
        if after_write and job is not None:
            self._do_unheard(job)
        self.cut_until = self.world.clock.now + seconds

    def _do_unheard(self, job: Job) -> None:
        self.loop.jobs.remove(job)
        try:
            found = job.work()
        except Deposed as deposed:  # nothing was committed
            if not job.done.cancelled():
                job.done.set_exception(deposed)
        else:
            self.loop.jobs.appendleft(Job("write", lambda: found, job.done))

    def _end(self) -> None:
        if self.engine is not None:
            self.loop.run_until_complete(self.engine.die())
        self.engine = self._store = self._lead = None
        self._stuck.clear()
        self._is_free, self._looks_at = False, self.world.clock.now
        self.paused_until = min(self.paused_until, self.world.clock.now)

    def close(self) -> None:
        """End all that is left."""
        self._end()
        self.loop.close()

    # Logs.

    def durable_log(self, ticket: TicketId) -> bytes:
        """Return what a power cut would leave of a log."""
        return self.world.disk.durable(self.logs, f"{ticket}.journal")

    def kept_logs(self) -> dict[TicketId, bytes]:
        """Return the logs on the disk."""
        return {TicketId(path.name.removesuffix(".journal")): path.read_bytes() for path in self.logs.iterdir()}


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
