"""What every conformance test of the store runs on: SQLite in a directory, PostgreSQL, PgBouncer before it, one space of many."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from reconciler.store.addresses import parted
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


@pytest.fixture(scope="session")
def spaces(pgbouncer: Pooler) -> Iterator[str]:
    """Give new spaces of one database, behind the pooler that hands their connections round."""
    data = pgbouncer.new_database()
    return (parted(data).of(f"space-{number}") for number in count(1))


BEHIND_POOLER = tuple(pytest.param(name, marks=pytest.mark.end_to_end) for name in ("pgbouncer", "spaces"))


@pytest.fixture(params=["sqlite", "postgres", *BEHIND_POOLER])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Choose a place where no store has been yet."""
    if request.param == "sqlite":
        return Place(str(tmp_path / "data"), tmp_path / "data")
    if request.param == "spaces":
        spaces: Iterator[str] = request.getfixturevalue("spaces")
        return Place(next(spaces), tmp_path / "files")
    server: PostgresServer | Pooler = request.getfixturevalue(request.param)
    return Place(server.new_database(), tmp_path / "files")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened
