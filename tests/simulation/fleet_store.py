"""The database of several nodes: who leads, under which epoch, and the store as one node has it."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from reconciler.model.errors import StateUnreadable
from reconciler.store.database import Work
from reconciler.store.sqlite import SqliteConnection
from tests.simulation.fleet_books import Books
from tests.simulation.server_end import MemoryDatabase
from tests.simulation.still_time import BEGINNING, Clock, StillLoop
from tests.simulation.witness import Witness

T = TypeVar("T")

LEAD = "lead"
"""In place of a number: one node leads, an older epoch writes nothing, and a lead is never vacant for long."""

VACANT_MAX = 18.0
"""Seconds in which a lead runs out, is looked at and taken: 15, 1, and as many again as that takes in a busy world."""


class SharedConnection(SqliteConnection):
    """A connection to a database with a clock of its own, which nobody sets."""

    __slots__ = ("_clock",)

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        super().__init__(connection, "BEGIN IMMEDIATE")
        self._clock = clock

    def now(self, given: float) -> float:
        return BEGINNING + self._clock.now


class SharedDatabase(MemoryDatabase):
    """The embedded dialect in the part of a database for all nodes."""

    def __init__(self, content: bytes, clock: Clock) -> None:
        super().__init__(content)
        self._clock = clock

    def connect(self) -> SqliteConnection:
        return SharedConnection(super().connect()._connection, self._clock)


class LeadWitness:
    """Sees each take and each write; `is_active` says whether a node could renew its lead just now."""

    def __init__(self, witness: Witness, clock: Clock, is_active: Callable[[str], bool]) -> None:
        self._witness, self._clock, self._is_active = witness, clock, is_active
        self.epoch, self.leader = 0, ""
        self._until = 0.0
        self._vacant_since: float | None = None
        self._able_since: dict[str, float] = {}

    def wrote(self, node: str, epoch: int, tx: SqliteConnection) -> None:
        """Take that a node has written, under an epoch or, with 0, to get one."""
        row = tx.one("SELECT node, epoch, until FROM leadership")
        assert row is not None
        leader, present, until = row
        if epoch and epoch != self.epoch:
            self._witness.blame(LEAD, f"{node} wrote under epoch {epoch} after epoch {self.epoch} had begun")
        if (leader, present) != (self.leader, self.epoch):
            self._took(leader, present)
        self.leader, self.epoch, self._until = leader, present, until

    def _took(self, node: str, epoch: int) -> None:
        if epoch <= self.epoch:
            self._witness.blame(LEAD, f"{node} leads under epoch {epoch}, and {self.leader} did under {self.epoch}")
        if node == self.leader:
            return
        if self._until > BEGINNING + self._clock.now:
            self._witness.blame(LEAD, f"{node} took the lead of {self.leader} before it ran out")
        elif self._until and self._is_active(self.leader):
            self._witness.blame(LEAD, f"{node} took the lead of {self.leader}, which runs and did not renew it")

    def disturbed(self) -> None:
        """Take that something happened from outside: the time in which nobody leads is counted anew."""
        self._able_since.clear()
        self._vacant_since = None

    def look(self, able: set[str], *, is_vacant: bool) -> None:
        """Look at how long nobody has led for, while one of the nodes that are `able` could."""
        now = self._clock.now
        self._able_since = {name: self._able_since.get(name, now) for name in able}
        if not is_vacant:
            self._vacant_since = None
            return
        self._vacant_since = now if self._vacant_since is None else self._vacant_since
        for name, since in self._able_since.items():
            seconds = now - max(since, self._vacant_since)
            if seconds > VACANT_MAX:
                self._witness.blame(LEAD, f"nobody leads for {seconds:.1f} s, and {name} could")


class NodeStore:
    """The books as an engine on one of several nodes has them: guarded by its lead, and at times out of reach."""

    is_shared = True

    def __init__(self, books: Books, loop: StillLoop, node: str, leads: LeadWitness) -> None:
        self._books, self._loop, self._node, self._leads = books, loop, node, leads
        self._guard: Work[None] = lambda _: None
        self.epoch = 0
        """The one that was got with the lead."""
        self.is_dead = False
        self.is_cut = False

    def guarded_by(self, guard: Work[None]) -> None:
        """Begin every transaction from now on with `guard`."""
        self._guard = guard

    async def read(self, work: Callable[[SqliteConnection], T]) -> T:
        await asyncio.sleep(0)
        if self.is_dead:
            raise asyncio.CancelledError
        if self.is_cut:
            return await self._loop.job("read", lambda: self._books.read(work))
        return self._books.read(work)

    async def write(self, work: Callable[[SqliteConnection], T]) -> T:
        if self.is_dead:
            raise asyncio.CancelledError
        return await self._loop.job("write", lambda: self._books.write(self._guarded(work), self._node))

    def write_now(self, work: Callable[[SqliteConnection], T]) -> T:
        """Write what is about the lead alone."""
        if self.is_cut:
            raise out_of_reach()
        return self._books.write(self._guarded(work), is_told=False)

    def _guarded(self, work: Callable[[SqliteConnection], T]) -> Callable[[SqliteConnection], T]:
        def guarded(tx: SqliteConnection) -> T:
            self._guard(tx)
            found = work(tx)
            self._leads.wrote(self._node, self.epoch, tx)
            return found

        return guarded


def out_of_reach() -> StateUnreadable:
    """Return what the store says after it has tried for long enough."""
    return StateUnreadable("the database cannot be used: it is out of reach", "check that the server runs")
