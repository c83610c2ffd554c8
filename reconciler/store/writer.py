"""The store: one thread writes, and all functions that wait share one transaction and one fsync."""

import asyncio
import concurrent.futures
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from reconciler.store.database import Connection, Database, Joint, T, Transaction, Work, explaining, pauses
from reconciler.store.dialects import database_of, is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.known_objects import KnownObjects
from reconciler.store.migrations import migrate
from reconciler.store.readers import Readers, Room


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


_Outcome: TypeAlias = _Done | _Failed


@dataclass(frozen=True, slots=True)
class _Job:
    """A function and who waits for it: a coroutine of `loop`, or a thread."""

    work: Work[Any]
    future: "asyncio.Future[Any] | concurrent.futures.Future[Any]"
    loop: asyncio.AbstractEventLoop | None = None


class Store:
    """Remembers everything; opened once per process."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # bounded by `_room` and by the number of threads
        self._room = Room()
        self._readers = Readers(database)
        self.known = KnownObjects()
        """The live objects, which whoever writes them keeps up."""
        self._guard: Work[None] = _unguarded
        self._closing = threading.Event()
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, data: str, files: Path) -> Self:
        """Open the state that `data` (a directory or a `postgresql://` address) names, making or upgrading it.

        `files` is the data directory for all that is no row. Raises StateUnreadable.
        """
        DataDirectory(files).create()
        if not is_address(data):
            DataDirectory(Path(data)).create()
        database = database_of(data)
        with explaining(database):
            return cls(database, _migrated(database))

    @property
    def where(self) -> str:
        """Name the place in messages."""
        return self._database.where

    def guarded_by(self, guard: Work[None]) -> None:
        """Begin every transaction from now on with `guard`: where it raises, nothing of the whole group is written."""
        self._guard = guard

    @property
    def is_shared(self) -> bool:
        """May other nodes go on with this state, without the files of this one?"""
        return self._database.is_shared

    async def write(self, work: Work[T]) -> T:
        """Run `work` in the writer's next transaction and return its result once that is durable.

        What `work` raises is raised here, and nothing of it is kept. A coroutine that is cancelled stops waiting;
        its function still happens, whole. Raises StateUnreadable where the database does not take it.
        """
        loop = asyncio.get_running_loop()
        async with self._room.of(loop):
            future: asyncio.Future[T] = loop.create_future()
            self._submit(_Job(work, future, loop))
            return await future

    def write_now(self, work: Work[T]) -> T:
        """Do as `write` does, from a thread that may wait."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._submit(_Job(work, future))
        return future.result()

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads, on a committed state and beside the writer."""
        return await self._readers.read(work)

    async def glance(self, work: Work[T]) -> T:
        """Do as `read` does for a few rows by their keys; the event loop stands still for the moment that a file takes."""
        return await self._readers.glance(work)

    def read_now(self, work: Work[T]) -> T:
        """Do as `read` does, in this thread."""
        return self._readers.read_now(work)

    def close(self) -> None:
        """Write what waits, then let go of the database; a second call does nothing."""
        with self._gate:
            if self._closing.is_set():
                return
            self._closing.set()
            self._jobs.put(None)
        self._thread.join()
        self._readers.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, job: _Job) -> None:
        with self._gate:
            assert not self._closing.is_set(), "the store is closed"
            assert threading.current_thread() is not self._thread, "a function that writes is one transaction"
            self._jobs.put(job)

    def _write_all(self) -> None:
        while jobs := _waiting(self._jobs, self._database.group_max):
            _wake(jobs, self._write_group(jobs))

    def _write_group(self, jobs: Sequence[_Job]) -> Sequence[_Outcome]:
        alone = len(jobs) == 1  # a function alone needs no savepoint: it fails with its transaction
        apart = not alone and self._database.cheap_savepoints
        for pause in pauses():
            try:
                return self._attempt(jobs, apart=apart)
            except Exception as error:  # noqa: BLE001 - the named boundary: every error goes to those who wait
                self._connection.rollback()
                last = error
            if self._database.again(last):
                self._closing.wait(pause)
            elif alone or apart:
                break
            else:
                apart = True  # one function failed, the others shall not
        return [_Failed(self._database.explain(last)) for _ in jobs]

    def _attempt(self, jobs: Sequence[_Job], *, apart: bool) -> Sequence[_Outcome]:
        self._connection.begin()
        self._guard(self._connection)
        outcomes = self._outcomes([job.work for job in jobs], apart=apart)
        self._connection.commit()
        return outcomes

    def _outcomes(self, works: Iterable[Work[Any]], *, apart: bool) -> list[_Outcome]:
        """Carry out neighbours of one class of joint work as one, and everything else one by one."""
        outcomes: list[_Outcome] = []
        for kind, same in groupby(works, type):
            neighbours = list(same)
            parts = [neighbours] if issubclass(kind, Joint) else [[work] for work in neighbours]
            for part in parts:
                outcomes += self._isolated(part) if apart else map(_Done, self._done(part))
        return outcomes

    def _isolated(self, works: list[Work[Any]]) -> list[_Outcome]:
        """Carry out work that may fail without what stands beside it; of joint work, each alone where not all can be done."""
        self._connection.savepoint()
        try:
            results = self._done(works)
        except Exception as error:
            if self._database.again(error) or not self._connection.in_transaction:
                raise
            self._connection.undo()
            if len(works) == 1:
                return [_Failed(self._database.explain(error))]
            return [outcome for work in works for outcome in self._isolated([work])]
        self._connection.release()
        return [_Done(result) for result in results]

    def _done(self, works: list[Work[Any]]) -> Sequence[Any]:
        """Carry out one function, or several of joint work."""
        if len(works) == 1:
            return [works[0](self._connection)]
        joint = cast(list[Joint[Any]], works)
        return type(joint[0]).together(self._connection, joint)


def _unguarded(_: Transaction) -> None:
    """Let every transaction go on."""


def _migrated(database: Database) -> Connection:
    connection = database.connect()
    try:
        migrate(database, connection)
    except Exception:
        connection.close()
        raise
    return connection


def _waiting(jobs: "SimpleQueue[_Job | None]", group_max: int) -> list[_Job]:
    """Wait for a job and take those that wait with it; none once the store closes."""
    first = jobs.get()
    found = [first] if first else []
    while found and len(found) < group_max:
        try:
            job = jobs.get_nowait()
        except Empty:
            break
        if job is None:
            jobs.put(None)  # the last; it is met again after this group
            break
        found.append(job)
    return found


def _wake(jobs: Sequence[_Job], outcomes: Sequence[_Outcome]) -> None:
    """Give each its outcome, waking every event loop once."""
    woken: dict[asyncio.AbstractEventLoop | None, list[tuple[_Job, _Outcome]]] = defaultdict(list)
    for job, outcome in zip(jobs, outcomes, strict=True):
        woken[job.loop].append((job, outcome))
    for loop, settled in woken.items():
        if loop is None:
            _settle(settled)
        else:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[_Job, _Outcome]]) -> None:
    for job, outcome in settled:
        if job.future.cancelled():
            continue
        match outcome:
            case _Done(result):
                job.future.set_result(result)
            case _Failed(error):
                job.future.set_exception(error)
