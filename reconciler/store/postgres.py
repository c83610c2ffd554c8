"""The dialect of many nodes: PostgreSQL through psycopg 3, fit for PgBouncer's transaction mode."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from time import sleep

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from reconciler.model.errors import Conflict, StateUnreadable
from reconciler.store.addresses import parted
from reconciler.store.database import ColumnType, Row, Value, pauses

LOCK_SECONDS = 30  # longer than any honest transaction of all nodes together
IDLE_SECONDS = 10  # a node that stopped in mid-transaction gives its turn back after this
CONNECT = {
    "connect_timeout": "10",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "5",
    "application_name": "reconciler",
}

LIMITS = (
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
)
TURN = "SELECT pg_current_xact_id()::text FROM reconciler_schema FOR UPDATE"
BEGIN_WRITING = f"BEGIN; {{path}}{LIMITS}; {TURN}"
"""The row is the turn: whoever locks it is the one writer, and the number tells later whether the commit arrived."""
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {path}"
SEARCH = 'SET LOCAL search_path TO "{schema}", pg_temp; '
"""Of one transaction: behind a pooler the next one of a connection may be another space's."""
PASSING = (errors.SerializationFailure, errors.DeadlockDetected, errors.IdleInTransactionSessionTimeout)
ARRAYS: Mapping[ColumnType, str] = {"text": "text", "integer": "bigint", "real": "double precision"}
NUL = "\0"
STATEMENTS_MAX = 512  # all statements of the operations stay translated


class CommitUnknownError(Exception):
    """The connection broke in the middle of a commit, and the database could not be asked since whether it arrived."""


class PostgresConnection:
    """A connection that mends itself at the beginning of a transaction."""

    __slots__ = ("_begin", "_connection", "_dsn", "_number", "_writes")

    def __init__(self, dsn: str, begin: bytes, *, writes: bool = False) -> None:
        self._dsn = dsn
        self._begin = begin
        self._writes = writes
        self._number = ""
        self._connection = self._connect()

    def execute(self, sql: str, *values: Value) -> int:
        """Run one statement and return how many rows it changed."""
        return self._run(_translated(sql), values).rowcount

    def one(self, sql: str, *values: Value) -> Row | None:
        """Return the first row, or None."""
        return self._run(_translated(sql), values).fetchone()

    def all(self, sql: str, *values: Value) -> list[Row]:
        """Return every row."""
        return self._run(_translated(sql), values).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each of `rows`, pipelined."""
        self._connection.cursor().executemany(_translated(sql), map(_storable, rows))

    def batch(self, sql: str, types: Sequence[ColumnType], rows: Sequence[Sequence[Value]]) -> list[Row]:
        """Run one statement on all of `rows` together: a column is an array."""
        if not rows:
            return []
        arrays = [_array(column) for column in zip(*rows, strict=True)]
        cursor = self._run(_on_arrays(sql, tuple(types)), arrays)
        return cursor.fetchall() if cursor.description else []

    def now(self, given: float) -> float:
        """Return the database's clock, the same for all nodes."""
        row = self.one("SELECT extract(epoch FROM clock_timestamp())::float8")
        assert row is not None
        return float(row[0])

    @property
    def in_transaction(self) -> bool:
        """Say whether the transaction still stands, failed or not."""
        status = self._connection.info.transaction_status
        return not self._connection.closed and status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}

    @property
    def is_pooled(self) -> bool:
        """Say whether a pooler stands between: it names another process than the one that answers."""
        row = self.one("SELECT pg_backend_pid()")
        return row is not None and row[0] != self._connection.info.backend_pid

    def begin(self) -> None:
        """Begin a transaction, on a new connection where the old one broke; a writing one waits for its turn."""
        if self._connection.closed:
            self._connection = self._connect()
        cursor = self._connection.execute(self._begin)
        while cursor.nextset():
            pass
        self._number = cursor.fetchone()[0] if self._writes else ""  # type: ignore[index]  # FOR UPDATE of the one row

    def commit(self) -> None:
        """Commit; where the connection breaks in the middle, find out whether it arrived."""
        try:
            tag = self._connection.execute(b"COMMIT").statusmessage
        except psycopg.OperationalError:
            if not self._number or not self._arrived(self._number):
                raise
        else:
            # A failed transaction answers COMMIT with ROLLBACK, without an error.
            if tag != "COMMIT":
                raise errors.InFailedSqlTransaction("a statement had failed and its error was not passed on")

    def rollback(self) -> None:
        """Leave nothing of the transaction, if there is one."""
        if self.in_transaction:
            try:
                self._connection.execute(b"ROLLBACK")
            except psycopg.OperationalError:
                self._connection.close()  # the server rolls back when it notices

    def savepoint(self) -> None:
        """Mark a place in the transaction."""
        self._connection.execute(b"SAVEPOINT work")

    def release(self) -> None:
        """Keep what was done since the mark."""
        self._connection.execute(b"RELEASE work")

    def undo(self) -> None:
        """Go back to the mark and forget it."""
        self._connection.execute(b"ROLLBACK TO work; RELEASE work")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _run(self, statement: bytes, values: Sequence[Value]) -> psycopg.Cursor[Row]:
        try:
            return self._connection.execute(statement, values)
        except psycopg.DataError:
            storable = _storable(values)
            if storable is values:
                raise
            return self._connection.execute(statement, storable)  # the other one never left us

    def _connect(self) -> psycopg.Connection[Row]:
        return psycopg.connect(self._dsn, autocommit=True, prepare_threshold=None, **CONNECT)  # type: ignore[arg-type]  # the keywords of libpq are texts

    def _arrived(self, number: str) -> bool:
        """Ask on a new connection whether transaction `number` was committed before the old connection broke.

        Raises CommitUnknownError, for which nothing is run again, where nobody can be asked.
        """
        for pause in pauses():
            try:
                self._connection.close()
                self._connection = self._connect()
                row = self.one("SELECT pg_xact_status(?::xid8)", number)
            except psycopg.OperationalError:
                row = None
            if row is not None and row[0] != "in progress":
                return bool(row[0] == "committed")
            sleep(pause)
        raise CommitUnknownError


class PostgresDatabase:
    """The store in one PostgreSQL database, shared by all nodes."""

    words: Mapping[str, str] = {
        "text": 'TEXT COLLATE "C"',
        "integer": "BIGINT",
        "real": "DOUBLE PRECISION",
        "bytes": "BYTEA",
        "strict": "",
    }
    is_shared = True
    group_max = 100  # each statement is a round trip
    cheap_savepoints = False  # two round trips, and each update of a hot row walks past those of former savepoints

    def __init__(self, dsn: str) -> None:
        address = parted(dsn)
        try:
            facts = conninfo_to_dict(address.database)
        except psycopg.ProgrammingError as error:
            raise StateUnreadable(
                f"--data is not the address of a PostgreSQL database: {_first_line(error)}",
                "write it as postgresql://USER@HOST:PORT/DATABASE",
            ) from None
        self._dsn = address.database
        self.schema = address.space
        self._path = SEARCH.format(schema=self.schema) if self.schema else ""
        named = f"'{self.schema}'" if self.schema else "current_schema()"
        tables = f"FROM pg_tables WHERE schemaname = {named}"
        others = f"FROM pg_tables WHERE schemaname IS DISTINCT FROM {named} AND tablename = 'reconciler_schema'"
        self.tables_query = f"SELECT tablename {tables}"
        self.states_query = f"SELECT schemaname {others} ORDER BY schemaname"
        self._where = f"{facts.get('host', 'localhost')}:{facts.get('port', 5432)}/{facts.get('dbname', '')}"

    @property
    def where(self) -> str:
        """The host, port and name of the database, and the space."""
        return f"PostgreSQL at {self._where}{f'/{self.schema}' if self.schema else ''}"

    def connect(self) -> PostgresConnection:
        """Connect for writing."""
        return PostgresConnection(self._dsn, BEGIN_WRITING.format(path=self._path).encode(), writes=True)

    def connect_reading(self) -> PostgresConnection | None:
        """Connect for reading."""
        return PostgresConnection(self._dsn, BEGIN_READING.format(path=self._path).encode())

    def again(self, error: Exception) -> bool:
        """Say yes to conflicts between transactions and to a server that is gone, stopping or starting."""
        if isinstance(error, PASSING):
            return True
        # Without a code the connection broke; 57P is a server that stops or starts, 08 and 53300 a crowded way to it.
        state = getattr(error, "sqlstate", None)
        return isinstance(error, psycopg.OperationalError) and (
            state is None or state.startswith(("08", "57P")) or state == "53300"
        )

    def explain(self, error: Exception) -> Exception:
        """Turn PostgreSQL's refusals into sentences."""
        match error:
            case CommitUnknownError():
                return StateUnreadable(
                    f"{self.where} went away in the middle of a commit and has not come back, so whether it arrived is unknown",
                    "look at what is recorded once it is back, before anything is done again",
                )
            case errors.LockNotAvailable():
                return Conflict(
                    f"another node has kept {self.where} from being written for {LOCK_SECONDS} s",
                    "end the long transaction that pg_stat_activity shows, then run the command again",
                )
            case errors.DiskFull():
                return StateUnreadable(
                    f"the disk of {self.where} is full, nothing was written", "free space on it and run it again"
                )
            case errors.ReadOnlySqlTransaction():
                return StateUnreadable(f"{self.where} is read-only", "name the primary server with --data")
            case errors.InsufficientPrivilege():
                return StateUnreadable(
                    f"{self.where} refuses: {_first_line(error)}", "make this user the owner of the database"
                )
            case psycopg.OperationalError():
                return StateUnreadable(
                    f"{self.where} cannot be used: {_first_line(error)}",
                    "check that the server runs, and the host, database and user in --data",
                )
            case _:
                return error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@lru_cache(maxsize=STATEMENTS_MAX)
def _on_arrays(sql: str, types: Sequence[ColumnType]) -> bytes:
    """Write the table of given rows as arrays side by side."""
    arrays = ", ".join(f"%s::{ARRAYS[column]}[]" for column in types)
    names = ", ".join(f"column{number}" for number in range(1, len(types) + 1))
    return sql.replace("{rows}", f"unnest({arrays}) AS given ({names})").encode()


def _array(values: Iterable[Value]) -> str:
    """Write an array as PostgreSQL reads it; texts that hold JSON take psycopg's own way twenty times as long."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Value) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else repr(value)


def _storable(values: Sequence[Value]) -> Sequence[Value]:
    """Return values with � for U+0000, which no text of PostgreSQL holds; the same ones where there is none."""
    if not any(isinstance(value, str) and NUL in value for value in values):
        return values
    return [value.replace(NUL, "\ufffd") if isinstance(value, str) else value for value in values]


@lru_cache(maxsize=STATEMENTS_MAX)
def _translated(sql: str) -> bytes:
    """Write `?` as psycopg does; no statement of ours holds a literal `?`."""
    return sql.replace("%", "%%").replace("?", "%s").encode()
