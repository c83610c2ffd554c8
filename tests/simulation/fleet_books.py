"""The database of a fleet: outlives engines; whoever looks at it is told of each commit."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from reconciler.model.live import Task
from reconciler.store import objects, tasks
from reconciler.store.migrations import migrate
from reconciler.store.sqlite import SqliteConnection
from tests.simulation.fleet_play import POLICY, Order, Play, declared
from tests.simulation.server_end import MemoryDatabase

T = TypeVar("T")


class Books:
    """One database in memory; a function is one transaction."""

    def __init__(
        self,
        play: Play,
        committed: Callable[[SqliteConnection, str], None],
        database: Callable[[bytes], MemoryDatabase] = MemoryDatabase,
    ) -> None:
        self._connection = database(empty()).connect()
        self._committed: Callable[[SqliteConnection, str], None] = lambda *_: None
        self.commits = 0
        found = [machine.document for machine in play.machines] + [pool.document for pool in play.pools]
        self.write(lambda tx: objects.put_many(tx, [declared("MachinePolicy", "hasty", POLICY, {}), *found]))
        self._committed = committed

    def read(self, work: Callable[[SqliteConnection], T]) -> T:
        return work(self._connection)  # nobody writes meanwhile

    def write(self, work: Callable[[SqliteConnection], T], node: str = "", *, is_told: bool = True) -> T:
        """Commit what a person or a `node` writes; who looks at commits `is_told`, unless it is of no concern to him."""
        self._connection.begin()
        try:
            found = work(self._connection)
            self._connection.commit()
        finally:
            self._connection.rollback()
        if is_told:
            self.commits += 1
            self._committed(self._connection, node)
        return found

    def queue(self, order: Order, at: float) -> Task:
        """Queue a task as an apply does."""

        def work(tx: SqliteConnection) -> Task:
            return tasks.queue(
                tx,
                deployment=f"{order.slot.project}-{order.slot.environment}",
                slot=order.slot,
                release="1",
                digest="0" * 64,
                pin=tasks.pin(tx, order.content),
                revision="",
                priority=order.priority,
                at=at,
            )

        return self.write(work)

    def close(self) -> None:
        self._connection.close()


@cache
def empty() -> bytes:
    """Return a database with all tables."""
    database = MemoryDatabase()
    connection = database.connect()
    migrate(database, connection)
    content = connection._connection.serialize()
    connection.close()
    return content
