"""The schema, step by step: plain SQL files, each applied once and in order."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from reconciler.model.errors import StateUnreadable, UsageMistake
from reconciler.store import audit
from reconciler.store.addresses import ALONE
from reconciler.store.database import Connection, Database, Transaction

VERSION_TABLE = "reconciler_schema"


@cache
def migrations() -> tuple[str, ...]:
    """Return the text of every migration; the n-th leads to version n."""
    folder = files("reconciler.store").joinpath("schema")
    return tuple(path.read_text() for path in sorted(folder.iterdir(), key=lambda path: path.name))


def migrate(database: Database, connection: Connection) -> None:
    """Bring the schema to the newest version; raises StateUnreadable for a newer one or a foreign database."""
    _prepare(database, connection)
    connection.begin()
    try:
        version = schema_version(connection)
        if version > len(migrations()):
            raise _newer(database, version)
        for text in migrations()[version:]:
            for statement in text.format_map(database.words).split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        if version < len(migrations()):
            audit.chain_all(connection)
        connection.execute("UPDATE reconciler_schema SET version = ?", len(migrations()))
        connection.commit()
    finally:
        connection.rollback()


def holds_state(database: Database, tx: Transaction) -> bool:
    """Say whether there is a state to read; raises StateUnreadable where another version or program wrote it."""
    if not _is_ours(database, tx):
        return False
    version = schema_version(tx)
    if version > len(migrations()):
        raise _newer(database, version)
    if 0 < version < len(migrations()):
        raise StateUnreadable(
            f"{database.where} was written by an older reconciler (schema {version}, this one reads {len(migrations())})",
            "run `reconcile apply` once, it brings the state up to date",
        )
    return version > 0


def confirm(tx: Transaction) -> None:
    """Write what stands there already, to find out whether the state takes a write."""
    tx.execute("UPDATE reconciler_schema SET version = version")


def schema_version(tx: Transaction) -> int:
    """Return the version of the schema; 0 while there are no tables."""
    row = tx.one("SELECT version FROM reconciler_schema")
    return int(row[0]) if row else 0


def _is_ours(database: Database, tx: Transaction) -> bool:
    tables = {name for (name,) in tx.all(database.tables_query)}
    if not tables and database.states_query:
        check_others(database, [name for (name,) in tx.all(database.states_query)])
    if tables and VERSION_TABLE not in tables:
        raise StateUnreadable(
            f"{database.where} is the database of another program (it holds the table {min(tables)})",
            "give reconciler a database of its own with --data",
        )
    return bool(tables)


def check_others(database: Database, schemas: list[str]) -> None:
    """Raise UsageMistake where the database holds states of another form than the one that would be made."""
    if schemas and not database.schema:
        raise UsageMistake(
            f"{database.where} holds the states of {len(schemas)} space{'s' * (len(schemas) > 1)}: {', '.join(schemas)}",
            f"name one of them: --data postgresql://…/{schemas[0]}",
        )
    if ALONE in schemas:
        raise UsageMistake(
            f"{database.where} cannot be made: the database holds a state that has no space in its address",
            f'if it is that of {database.schema}, run: ALTER SCHEMA {ALONE} RENAME TO "{database.schema}"; '
            "else name another database",
        )


def _prepare(database: Database, connection: Connection) -> None:
    """Make the table whose one row is the version, and on PostgreSQL the writers' turn."""
    schema, integer = database.schema, database.words["integer"]
    table = f'"{schema}".{VERSION_TABLE}' if schema else VERSION_TABLE  # no transaction says yet where it lies
    if not _is_ours(database, connection):
        if schema:
            _make_schema(connection, schema)
        making = f"CREATE TABLE IF NOT EXISTS {table} (one {integer} PRIMARY KEY CHECK (one = 1), version {integer} NOT NULL)"
        _make(connection, making, lambda: _is_ours(database, connection))
    if connection.one(f"SELECT version FROM {table}") is None:  # noqa: S608 - letters and dashes
        connection.execute(f"INSERT INTO {table} (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING")  # noqa: S608 - as above


def _make_schema(connection: Connection, schema: str) -> None:
    """Make a schema, unless somebody has: who may write in it need not be allowed to make others."""

    def is_there() -> bool:
        return connection.one("SELECT 1 FROM pg_namespace WHERE nspname = ?", schema) is not None

    if not is_there():
        _make(connection, f'CREATE SCHEMA IF NOT EXISTS "{schema}"', is_there)


def _make(connection: Connection, making: str, is_there: Callable[[], bool]) -> None:
    """Run a statement that makes something; where another process made it at the same moment, its refusal says nothing."""
    try:
        connection.execute(making)
    except Exception:  # of whichever engine: what counts is whether it is there
        if not is_there():
            raise


def _newer(database: Database, version: int) -> StateUnreadable:
    return StateUnreadable(
        f"{database.where} was written by a newer reconciler (schema {version}, this one knows {len(migrations())})",
        "use that version or a newer one",
    )
