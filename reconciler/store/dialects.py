"""Which database a `--data` names."""

from pathlib import Path

from reconciler.model.errors import UsageMistake
from reconciler.store.database import Database
from reconciler.store.directory import DataDirectory
from reconciler.store.sqlite import SqliteDatabase


def is_address(data: str) -> bool:
    """Is `data` the address of a PostgreSQL database rather than a directory?"""
    return data.startswith(("postgresql://", "postgres://"))


def database_of(data: str) -> Database:
    """Choose the dialect for `data`, a directory or a `postgresql://` address; connects nowhere."""
    if not is_address(data):
        return SqliteDatabase(DataDirectory(Path(data)).state)
    try:
        from reconciler.store.postgres import PostgresDatabase
    except ImportError as error:
        raise UsageMistake(
            f"a state on PostgreSQL needs the psycopg package ({error})",
            "install it beside reconciler: pip install 'psycopg[binary]'",
        ) from error
    return PostgresDatabase(data)
