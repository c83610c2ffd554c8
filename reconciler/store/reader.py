"""Reading in the caller's thread: functions that each see one committed state and never wait for the writer."""

from contextlib import closing
from queue import Empty, LifoQueue
from time import sleep
from types import TracebackType
from typing import Self

from reconciler.store.database import Connection, Database, T, Work, explaining, pauses
from reconciler.store.dialects import database_of
from reconciler.store.migrations import holds_state


class Reader:
    """Runs functions that only read, in the threads that ask; a command that reads once needs no more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: LifoQueue[Connection] = LifoQueue()  # bounded by the number of threads that ask

    def read_now(self, work: Work[T]) -> T:
        """Run `work` in this thread; all its queries see the same committed state. Raises StateUnreadable."""
        with explaining(self._database):
            return self._patiently(work)

    def close(self) -> None:
        """Let go of the database."""
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


def open_for_reading(data: str) -> Reader | None:
    """Open the state that `data` names without writing anything, or return None where there is none yet.

    Raises StateUnreadable where something is there and it cannot be read.
    """
    database = database_of(data)
    with explaining(database):
        return Reader(database) if _found(database) else None


def look(data: str, table: str, work: Work[T]) -> T | None:
    """Read from the PostgreSQL database at `data`, which may be of another version; None where it has no such table.

    Raises StateUnreadable where nothing can be read there.
    """
    database = database_of(data)
    with Reader(database) as reader:
        return reader.read_now(lambda tx: work(tx) if (table,) in tx.all(database.tables_query) else None)


def states_in(data: str) -> list[str]:
    """Return the spaces that have a state in the database at the address `data`.

    Raises StateUnreadable where it does not answer just now: a restart is not waited for.
    """
    database = database_of(data)
    with explaining(database):
        connection = database.connect_reading()
        assert connection is not None, "a server is asked"
        with closing(connection):
            connection.begin()
            return [name for (name,) in connection.all(database.states_query)]


def _found(database: Database) -> bool:
    connection = database.connect_reading()
    if connection is None:
        return False
    with closing(connection):
        connection.begin()  # which says where a space's tables lie
        return holds_state(database, connection)
