"""What every operation is written against: a transaction with `?` placeholders, whichever engine runs it.

SQLite and PostgreSQL both give writers one turn at a time, in all processes together, so a function that reads and
then writes needs no further guard against other writers. A function may be run again from its start (PostgreSQL went
away in the middle), so it must change nothing but the database.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import uniform
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

Value: TypeAlias = str | int | float | bytes | None
"""What goes into a column; truth is 0 or 1, times are seconds since the epoch."""

Row: TypeAlias = tuple[Any, ...]

ColumnType: TypeAlias = Literal["text", "integer", "real"]

T = TypeVar("T")
Work: TypeAlias = Callable[["Transaction"], T]
"""One function is one transaction: it returns and is committed, or raises and leaves nothing."""


class Joint(ABC, Generic[T]):
    """Work that is done together with others of its class in as many statements as alone; none may lean on another."""

    __slots__ = ()

    def __call__(self, tx: "Transaction") -> T:
        """Do it alone."""
        (result,) = self.together(tx, [self])
        return result

    @classmethod
    @abstractmethod
    def together(cls, tx: "Transaction", works: Sequence[Self]) -> Sequence[T]:
        """Do all of `works` and return the result of each; where one raises, nothing of any is kept."""


class Transaction(Protocol):
    """Runs statements; all see what the ones before them did."""

    def execute(self, sql: str, *values: Value) -> int:
        """Run one statement and return how many rows it changed."""

    def one(self, sql: str, *values: Value) -> Row | None:
        """Return the first row, or None."""

    def all(self, sql: str, *values: Value) -> list[Row]:
        """Return every row."""

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each of `rows`."""

    def batch(self, sql: str, types: Sequence[ColumnType], rows: Sequence[Sequence[Value]]) -> list[Row]:
        """Run one statement on all of `rows` together and return what it returns; without rows nothing is run.

        `{rows}` in it is a table of them, with columns of `types` named column1, column2, …; no two rows may touch
        the same row of a table. Many rows may take a few statements.
        """

    def now(self, given: float) -> float:
        """Return the time that all holders of leases are judged by: the database's own, where it has one."""


class Connection(Transaction, Protocol):
    """One connection, used by one thread at a time."""

    @property
    def in_transaction(self) -> bool:
        """Can the transaction that was begun still be committed or undone?"""

    def begin(self) -> None:
        """Begin a transaction; a writing one waits here for its turn."""

    def commit(self) -> None:
        """Make it durable; raises where it was not, and only then."""

    def rollback(self) -> None:
        """Leave nothing of it; harmless where nothing was begun."""

    def savepoint(self) -> None:
        """Mark the place that `undo` returns to."""

    def release(self) -> None:
        """Keep what was done since the savepoint."""

    def undo(self) -> None:
        """Take back what was done since the savepoint."""

    def close(self) -> None:
        """Let go of the database."""


class Database(Protocol):
    """One engine and the place of one store; the dialects are the only implementations."""

    words: Mapping[str, str]
    """How this engine writes the placeholders of the schema: text, integer, real, bytes, strict."""
    tables_query: str
    """A query for the names of all tables."""
    schema: str
    """The schema that the tables lie in, "" where the database holds one state alone."""
    states_query: str
    """A query for the other schemas of the database that hold a state, "" where it has no schemas."""
    is_shared: bool
    """May nodes with different files work on it, one after the other?"""
    group_max: int
    """Functions in one transaction: as many as take some 20 ms, and a second or two where the machine is busy."""
    cheap_savepoints: bool
    """Does each function of a group get its savepoint at once, or only after one of them failed?"""

    @property
    def where(self) -> str:
        """Name the place in messages; never with a password."""

    def connect(self) -> Connection:
        """Open a connection that writes, making the database where it is missing; raises what `explain` takes."""

    def connect_reading(self) -> Connection | None:
        """Open a connection that cannot write; None where there is nothing. Raises what `explain` takes."""

    def again(self, error: Exception) -> bool:
        """Did the engine end the transaction for a reason that passes, so that it is to be run again whole?"""

    def explain(self, error: Exception) -> Exception:
        """Turn the engine's error into a sentence of ours where a person can mend it, else return it as it is."""


def pauses(limit: float = 30.0) -> Iterator[float]:
    """Yield growing, scattered seconds to wait between tries; ends when their sum passes `limit` seconds."""
    total, most = 0.0, 0.02
    while total < limit:
        pause = uniform(most / 2, most)  # noqa: S311 - scatters tries, keeps no secret
        yield pause
        total, most = total + pause, min(most * 2, 2.0)


@contextmanager
def explaining(database: Database) -> Iterator[None]:
    """Raise a sentence in place of an error of the engine, where a person can mend it."""
    try:
        yield
    except Exception as error:
        sentence = database.explain(error)
        if sentence is error:
            raise
        raise sentence from error
