"""Reading: a few connections that see one committed state per function and never wait for the writer."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, LifoQueue
from time import sleep
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from reconciler.store.database import Connection, Database, T, Work, explaining, pauses
from reconciler.store.dialects import database_of
from reconciler.store.migrations import holds_state

READERS_MAX = 4  # threads that read at once; the processor, not their number, is the limit
WAITING_MAX = 10_000  # functions of one event loop that wait; further coroutines wait outside


class Room:
    """Bounds how many coroutines of each event loop wait for the store."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """Return the places of `loop`."""
        return self._places.setdefault(loop, asyncio.Semaphore(WAITING_MAX))


class Readers:
    """Runs functions that only read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._threads = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="store-reader")
        self._room = Room()

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a reader's thread."""
        loop = asyncio.get_running_loop()
        async with self._room.of(loop):
            return await loop.run_in_executor(self._threads, self.read_now, work)

    def read_now(self, work: Work[T]) -> T:
        """Run `work` in this thread; all its queries see the same committed state. Raises StateUnreadable."""
        with explaining(self._database):
            return self._patiently(work)

    def close(self) -> None:
        """Wait for what is being read, and let go of the database."""
        self._threads.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _patiently(self, work: Work[T]) -> T:
        last: Exception | None = None
        for pause in pauses():
            try:
                return self._attempt(work)
            except Exception as error:
                if not self._database.again(error):
                    raise
                last = error
            sleep(pause)
        assert last is not None
        raise last

    def _attempt(self, work: Work[T]) -> T:
        connection = self._take()
        try:
            connection.begin()
            return work(connection)
        finally:
            connection.rollback()
            self._idle.put(connection)

    def _take(self) -> Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            connection = self._database.connect_reading()
            assert connection is not None, "readers are made once the database exists"
            return connection


def open_for_reading(data: str) -> Readers | None:
    """Open the state that `data` names without writing anything, or return None where there is none yet.

    Raises StateUnreadable where something is there and it cannot be read.
    """
    database = database_of(data)
    with explaining(database):
        return Readers(database) if _found(database) else None


def _found(database: Database) -> bool:
    connection = database.connect_reading()
    if connection is None:
        return False
    try:
        return holds_state(database, connection)
    finally:
        connection.close()
