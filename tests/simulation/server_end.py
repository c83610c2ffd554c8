"""The server's end: dispatcher, link, conversation and logs on one database; engines come and go."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from reconciler.execute.carriers import Connection
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.watching import Unwatched
from reconciler.model.live import Attempt, LiveObject, Slot, StepRun, Task, TaskId
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address, Position
from reconciler.protocol.tickets import TicketId
from reconciler.server.engine.engine import _nobody_is_connected
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import attempts, objects, tasks, worker_status
from reconciler.store.keys import Sealer
from reconciler.store.migrations import migrate
from reconciler.store.sqlite import SqliteConnection, SqliteDatabase
from tests.simulation.network import Line
from tests.simulation.still_time import BEGINNING, StillLoop
from tests.simulation.witness import Play

WORKER = "w1"
POLICY = '{"connection":{"lostAfter":"1m"},"default":true}'
MEMBER = '{"endpoint":{"polling":{"subscription":"poll://w1","thumbprints":["SHA256:x"]}},"pools":["default"]}'
TASK = TaskId(1)
KEY = Sealer(bytes(32))
T = TypeVar("T")


class Killed(BaseException):
    """A process is dead: nothing of it runs any more."""


class MemoryDatabase(SqliteDatabase):
    """The embedded dialect on a database in memory."""

    def __init__(self, content: bytes | None = None) -> None:
        super().__init__(Path("memory"))
        self._content = content

    def connect(self) -> SqliteConnection:
        connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        if self._content is not None:
            connection.deserialize(self._content)
        connection.execute("PRAGMA foreign_keys = ON")
        return SqliteConnection(connection, "BEGIN IMMEDIATE")


@cache
def prepared(play: Play) -> bytes:
    """Return a database with one worker and one queued task of one step."""
    database = MemoryDatabase()
    connection = database.connect()
    migrate(database, connection)
    retry = {"attempts": 2, "backoff": "1s", "onWorkerLost": play.repeats_lost}
    step = {"name": "Work", "retry": retry, "script": {"syntax": "sh", "body": ":"}}
    deployment = {"project": "p", "release": "1", "environment": "e"}
    pinned = Pinned.model_validate_json(
        json.dumps(
            {"space": "s", "deploymentName": "d", "deployment": deployment, "project": {"process": [step]}},
        )
    )
    found = [_declared("MachinePolicy", "hasty", POLICY), _declared("Worker", WORKER, MEMBER)]
    connection.begin()
    objects.put_many(connection, found)
    tasks.queue(
        connection,
        deployment="d",
        slot=Slot("p", "e"),
        release="1",
        digest="0" * 64,
        pin=tasks.pin(connection, pinned.canonical()),
        revision="",
        at=BEGINNING,
    )
    connection.commit()
    content = connection._connection.serialize()
    connection.close()
    return content


def _declared(kind: str, name: str, spec: str) -> LiveObject:
    return LiveObject(Address(kind, name), spec, "{}", "digest", Position("space.yaml", 1), "revision")


class Books:
    """The database: outlives engines; whoever looks at it is told of each commit."""

    def __init__(self, play: Play, committed: Callable[[Task, list[StepRun], list[Attempt]], None]) -> None:
        self._connection = MemoryDatabase(prepared(play)).connect()
        self._committed = committed
        self.task, self.attempts = self._look()

    def read(self, work: Callable[[SqliteConnection], T]) -> T:
        return work(self._connection)  # nobody writes meanwhile

    def write(self, work: Callable[[SqliteConnection], T]) -> T:
        self._connection.begin()
        try:
            found = work(self._connection)
            self._connection.commit()
        finally:
            self._connection.rollback()
        self.task, self.attempts = self._look()
        self._committed(self.task, tasks.steps(self._connection, TASK), self.attempts)
        return found

    def _look(self) -> tuple[Task, list[Attempt]]:
        return tasks.task(self._connection, TASK), attempts.attempts(self._connection, TASK)

    def close(self) -> None:
        self._connection.close()


class EngineStore:
    """The books as one engine sees them: its writes wait for the world, and end with the engine."""

    def __init__(self, books: Books, loop: StillLoop) -> None:
        self._books = books
        self._loop = loop
        self.is_dead = False

    async def read(self, work: Callable[[SqliteConnection], T]) -> T:
        await asyncio.sleep(0)
        if self.is_dead:
            raise asyncio.CancelledError
        return self._books.read(work)

    async def write(self, work: Callable[[SqliteConnection], T]) -> T:
        if self.is_dead:
            raise asyncio.CancelledError
        return await self._loop.job("write", lambda: self._books.write(work))


class Engine:
    """One life of the server's end."""

    def __init__(self, books: Books, logs: Path, loop: StillLoop) -> None:
        self._store = EngineStore(books, loop)
        self._loop = loop
        self._carrier = PollingCarrier()
        self.grounds = Grounds(self._store, LogStore(logs), logs.parent, logs.parent, KEY, Unwatched())
        self.dispatcher = Dispatcher(self.grounds)
        self._life = loop.create_task(self._live())

    async def _live(self) -> None:
        await self._store.write(_nobody_is_connected)
        epoch, last = await self._store.read(
            lambda tx: (attempts.worker_epoch(tx, WORKER), worker_status.status(tx, WORKER))
        )
        link = WorkerLink(
            *(WORKER, self._carrier, self.grounds.logs, self.grounds.blobs, self.dispatcher),
            epoch_floor=epoch,
            store=last.seen.store if last is not None and last.seen is not None else "",
        )
        self.grounds.links[WORKER] = link
        await self.dispatcher.resume()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.run())
            group.create_task(link.run())

    def take(self, line: Line) -> None:
        """Take a call of the agent."""
        self._carrier.take(Connection(line.reader, line.pen, address="10.0.0.5"))

    def cancel(self) -> None:
        """Let a person cancel the task."""
        self._loop.job("cancel", self._cancel)

    def _cancel(self) -> None:
        store = self._store._books
        if not store.task.state.ended:
            store.write(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
            self.dispatcher.wake()

    def raise_failure(self) -> None:
        """Raise what ended this engine without anybody having killed it."""
        if self._life.done():
            self._life.result()

    @property
    def wishes(self) -> list[TicketId]:
        """What is still wanted of the worker's tickets."""
        link = self.grounds.links.get(WORKER)
        return list(link._desires) if link is not None else []

    async def die(self) -> None:
        """End everything of this life; nothing that it still does has any effect."""
        self._store.is_dead = True
        self._loop.jobs.clear()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._loop.jobs.clear()
        for ticket in list(self.grounds.logs._open):
            self.grounds.logs.close(ticket)
