"""The embedded dialect: one SQLite file in WAL mode, every commit on the disk before it counts."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from reconciler.model.errors import Conflict, StateUnreadable
from reconciler.store.database import ColumnType, Row, Value

BUSY_SECONDS = 5  # the engine's lock keeps other writers out; this covers a backup or a curious person's sqlite3
STATEMENTS_MAX = 256  # all statements of the operations stay compiled
WRITING = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")
NO_TEXT = "Could not decode to UTF-8"  # Python's own words, without a code of SQLite's
ROWS_MAX = 100  # of one statement, which may have some 32,000 values
LOOK = "SELECT count(*) FROM sqlite_schema"  # opening alone does not look at the file


class SqliteConnection:
    """A connection on which transactions are begun and ended by hand."""

    __slots__ = ("_begin", "_connection")

    def __init__(self, connection: sqlite3.Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin

    def execute(self, sql: str, *values: Value) -> int:
        """Run one statement and return how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def one(self, sql: str, *values: Value) -> Row | None:
        """Return the first row, or None; all are fetched, so that no statement stays open."""
        rows = self._connection.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def all(self, sql: str, *values: Value) -> list[Row]:
        """Return every row."""
        return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each of `rows`."""
        self._connection.executemany(sql, rows)

    def batch(self, sql: str, types: Sequence[ColumnType], rows: Sequence[Sequence[Value]]) -> list[Row]:
        """Run one statement on all of `rows` together, some at a time."""
        found: list[Row] = []
        for start in range(0, len(rows), ROWS_MAX):
            some = rows[start : start + ROWS_MAX]
            statement = sql.replace("{rows}", _values(len(types), len(some)))
            found += self._connection.execute(statement, [value for row in some for value in row]).fetchall()
        return found

    def now(self, given: float) -> float:
        """Return the caller's clock: one process writes, so it is the only one."""
        return given

    @property
    def in_transaction(self) -> bool:
        """Say whether the transaction still stands; a full disk may have undone it."""
        return self._connection.in_transaction

    def begin(self) -> None:
        """Begin a transaction; a writing one takes the lock at once."""
        self._connection.execute(self._begin)

    def commit(self) -> None:
        """Flush the write-ahead log to the disk."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Leave nothing of the transaction, if there is one."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def savepoint(self) -> None:
        """Mark a place in the transaction."""
        self._connection.execute("SAVEPOINT work")

    def release(self) -> None:
        """Keep what was done since the mark."""
        self._connection.execute("RELEASE work")

    def undo(self) -> None:
        """Go back to the mark and forget it."""
        self._connection.execute("ROLLBACK TO work")
        self._connection.execute("RELEASE work")

    def close(self) -> None:
        """Close the file; the last to close it also empties the write-ahead log."""
        self._connection.close()


class SqliteDatabase:
    """The store in one file."""

    words: Mapping[str, str] = {
        "text": "TEXT",
        "integer": "INTEGER",
        "real": "REAL",
        "bytes": "BLOB",
        "strict": " STRICT",
    }
    is_shared = False
    group_max = 1_000
    cheap_savepoints = True
    tables_query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    schema = ""
    states_query = ""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def where(self) -> str:
        """The path of the file."""
        return str(self._path)

    def connect(self) -> SqliteConnection:
        """Open the file for writing and make it where it is missing."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return SqliteConnection(self._open("rwc", *WRITING), "BEGIN IMMEDIATE")

    def connect_reading(self) -> SqliteConnection | None:
        """Open the file read-only; None where it is missing."""
        try:
            self._path.stat()
        except FileNotFoundError:
            return None
        return SqliteConnection(self._open("ro", LOOK), "BEGIN")

    def again(self, error: Exception) -> bool:
        """Say no: nothing passes by itself that the busy timeout did not wait for."""
        return False

    def explain(self, error: Exception) -> Exception:
        """Turn SQLite's result codes and the system's errors into sentences."""
        if isinstance(error, OSError):
            return _unopened(self._path, error.strerror or str(error))
        if not isinstance(error, sqlite3.Error):
            return error
        if str(error).startswith(NO_TEXT):
            return _damaged(self._path, "it holds a text that is not UTF-8")
        return _explained(self._path, getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error)) or error

    def _open(self, mode: str, *first: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_MAX,
        )
        try:
            for statement in first:
                connection.execute(statement)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@lru_cache(maxsize=STATEMENTS_MAX)
def _values(columns: int, rows: int) -> str:
    """Write a table of so many columns and rows."""
    row = f"({', '.join('?' * columns)})"
    return f"(VALUES {', '.join([row] * rows)}) AS given"


def _unopened(path: Path, reason: str) -> StateUnreadable:
    return StateUnreadable(
        f"the state in {path} cannot be opened: {reason}",
        "make the directory readable and writable for the user who runs this, or name another with --data",
    )


def _damaged(path: Path, words: str) -> StateUnreadable:
    return StateUnreadable(
        f"{path} is damaged: {words}", "keep the file and those beside it, and restore the state from a backup"
    )


def _explained(path: Path, code: int, words: str) -> Exception | None:
    match code:
        case sqlite3.SQLITE_NOTADB:
            return StateUnreadable(
                f"{path} is not a database",
                "move the file away to begin with an empty state, or name another directory with --data",
            )
        case sqlite3.SQLITE_CORRUPT:
            return _damaged(path, words)
        case sqlite3.SQLITE_FULL:
            return StateUnreadable(
                f"the disk that holds {path} is full, nothing was written", "free space on it and run the command again"
            )
        case sqlite3.SQLITE_READONLY:
            return StateUnreadable(
                f"{path} cannot be written: {words}",
                "make the file and its directory writable for the user who runs this",
            )
        case sqlite3.SQLITE_IOERR:
            return StateUnreadable(
                f"the disk that holds {path} failed: {words}", "look at the disk, then run the command again"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _unopened(path, words)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Conflict(
                f"another program has kept {path} locked for {BUSY_SECONDS} s", "end it, then run the command again"
            )
        case _:
            return None
