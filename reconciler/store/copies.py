"""Copies of a state as it stands at one moment, made while an engine works on it.

SQLite is copied page by page in one read transaction: writers go on beside it, and the copy is of one commit.
PostgreSQL is dumped by its own `pg_dump`, under the snapshot of a transaction of ours.
"""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from reconciler.model.errors import ReconcilerError, StateUnreadable, UsageMistake
from reconciler.store.addresses import ALONE, StateAddress, parted
from reconciler.store.database import Connection, Transaction, explaining
from reconciler.store.dialects import database_of, is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.migrations import holds_state
from reconciler.store.sqlite import BUSY_SECONDS, SqliteDatabase

GUARD = "UPDATE {schema}.leadership SET node = 'an unfinished restore', files = 'restore', until = 1e12;\n"
"""What a dump ends with when it is put back: nobody leads before the restore is complete."""

TABLE = re.compile(r"^\d+; \d+ \d+ TABLE (\S+) reconciler_schema\b", re.MULTILINE)
"""Where `pg_restore --list` says which schema a dump is of."""

SAID_MAX = 500  # characters of what a program complains


@contextmanager
def copied(data: str, target: Path) -> Iterator[Transaction]:
    """Copy the state at `data` to the file `target`; what the context is given reads it as it was copied.

    Raises UsageMistake where there is no state, StateUnreadable where it is broken or a program is missing.
    """
    database = database_of(data)
    with explaining(database):
        found = database.connect_reading()
    if found is None:
        raise UsageMistake(
            f"there is no state in {data} yet",
            "the first apply makes it, or a server: reconcile apply, or reconcile serve",
        )
    with closing(found), explaining(database):
        found.begin()
        if not holds_state(database, found):
            raise UsageMistake(
                f"there is no state in {data} yet",
                "the first apply makes it, or a server: reconcile apply, or reconcile serve",
            )
        if is_address(data):
            _directly(found)
            _dump(parted(data), found, target)
            yield found
            return
        found.rollback()
    source = DataDirectory(Path(data)).state
    with explaining(SqliteDatabase(source)):
        _copy(source, target)
    reading = SqliteDatabase(target).connect_reading()
    assert reading is not None, "the copy was made just now"
    with closing(reading):
        reading.begin()
        yield reading


def is_empty(data: str) -> bool:
    """Say whether nothing is where the address `data` says, in the database or the space's schema; raises StateUnreadable."""
    database = database_of(data)
    with explaining(database):
        found = database.connect_reading()
        assert found is not None, "a database of PostgreSQL is there or is refused"
        with closing(found):
            found.begin()
            _directly(found)
            return not found.all(database.tables_query)


def put_back(data: str, dump: Path) -> None:
    """Put a dump where the address `data` says and nothing is yet, whole or not at all; raises ReconcilerError."""
    address = parted(data)
    schema = address.space or ALONE
    check_schema(_schema_of(dump), schema)
    only = (f"--schema={schema}",) if address.space else ()  # it makes none then, so that one may be there already
    writing = ("psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", address.database)
    with (
        _started("pg_restore", "--no-owner", "--no-privileges", *only, "--file=-", str(dump)) as reader,
        _started(*writing) as writer,
    ):
        assert reader.process.stdout is not None
        assert writer.process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it says itself why it reads no more
                if address.space:
                    writer.process.stdin.write(f'CREATE SCHEMA IF NOT EXISTS "{schema}";\n'.encode())
                shutil.copyfileobj(reader.process.stdout, writer.process.stdin)
            reader.check()
        except ReconcilerError:
            writer.process.kill()  # at the end of what it reads it would commit
            raise
        writer.check(GUARD.format(schema=f'"{schema}"').encode())


def _schema_of(dump: Path) -> str:
    with _started("pg_restore", "--list", str(dump)) as reader:
        assert reader.process.stdout is not None
        listed = reader.process.stdout.read().decode(errors="replace")
        reader.check()
    found = TABLE.search(listed)
    return found[1] if found is not None else ""


def check_schema(held: str, schema: str) -> None:
    """Raise UsageMistake unless a dump of the schema `held` is to be put back as that."""
    if held == schema:
        return
    if schema == ALONE:
        raise UsageMistake(f"the backup holds the state of the space {held}", f"name it: --data postgresql://…/{held}")
    if held == ALONE:
        raise UsageMistake(
            "the backup holds a state that has no space in its address",
            f'restore it into a database of its own, then run there: ALTER SCHEMA {ALONE} RENAME TO "{schema}"',
        )
    raise UsageMistake(
        f"the backup holds the state of the space {held}, not of {schema}", f"name it: --data postgresql://…/{held}"
    )


def _directly(found: Connection) -> None:
    """Refuse to go through a pooler: pg_dump and psql change settings of the connections that others get after them."""
    if getattr(found, "is_pooled", False):
        raise UsageMistake(
            "a pooler such as PgBouncer stands before the database, and backups do not go through one",
            "name PostgreSQL itself with --data",
        )


def _copy(source: Path, target: Path) -> None:
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as ours,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        ours.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # the copy is one file
        (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StateUnreadable(
            f"{source} is damaged: {said}", "keep the file and those beside it, and restore the state from a backup"
        )


def _dump(address: StateAddress, tx: Transaction, target: Path) -> None:
    row = tx.one("SELECT pg_export_snapshot()")
    assert row is not None
    form = ["--format=custom", "--no-owner", "--no-privileges"]
    if address.space:
        form.append(f'--schema="{address.space}"')
    with _started("pg_dump", *form, f"--snapshot={row[0]}", f"--file={target}", address.database) as dumping:
        dumping.check()


@dataclass(frozen=True, slots=True)
class _Program:
    """A program of PostgreSQL that runs, and what it complains."""

    name: str
    process: "subprocess.Popen[bytes]"
    complaints: IO[bytes]

    def check(self, last: bytes = b"") -> None:
        """Give it the last that it reads, and wait for its end; raises ReconcilerError where it failed."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.write(last)
                self.process.stdin.close()
        if self.process.wait() != 0:
            self.complaints.seek(0)
            said = self.complaints.read(SAID_MAX).decode(errors="replace").strip()
            raise ReconcilerError(
                f"{self.name} failed: {said or f'exit code {self.process.returncode}'}",
                "its release must not be older than the server's",
            )


@contextmanager
def _started(program: str, *arguments: str) -> Iterator[_Program]:
    """Start a program of PostgreSQL; no address that holds a password comes here."""
    with TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if program == "pg_restore" else subprocess.DEVNULL,
                stderr=complaints,
            )
        except FileNotFoundError:
            raise ReconcilerError(
                f"a state on PostgreSQL needs the program {program}, which is not here",
                "install PostgreSQL's client programs: apt-get install postgresql-client",
            ) from None
        try:
            yield _Program(program, process, complaints)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
