"""What every conformance test of the store runs on: SQLite in a directory, PostgreSQL, and PgBouncer before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.store.writer import Store
from tests.pgbouncer import Pooler, pooler
from tests.postgres import PostgresServer, postgres_server


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is: what `--data` and `--files` say."""

    data: str
    files: Path

    def open(self) -> Store:
        return Store.open(self.data, self.files)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresServer) -> Iterator[Pooler]:
    with pooler(postgres) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres", pytest.param("pgbouncer", marks=pytest.mark.end_to_end)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Choose a place where no store has been yet."""
    if request.param == "sqlite":
        return Place(str(tmp_path / "data"), tmp_path / "data")
    server: PostgresServer | Pooler = request.getfixturevalue(request.param)
    return Place(server.new_database(), tmp_path / "files")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened
