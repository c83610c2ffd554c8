"""Spaces in one database of PostgreSQL: each has tables, turns, a lead and backups of its own, and no way to another's."""

from pathlib import Path

import psycopg
import pytest

from reconciler.model.errors import StateUnreadable, UsageMistake
from reconciler.server.checkup.findings import Finding, Verdict
from reconciler.server.checkup.state import state_findings
from reconciler.server.state.backup import back_up
from reconciler.server.state.place import Place, place_of
from reconciler.server.state.restore import restore
from reconciler.store import counters, leadership, tasks
from reconciler.store.addresses import parted
from reconciler.store.dialects import database_of
from reconciler.store.directory import DataDirectory
from reconciler.store.leadership import Node
from reconciler.store.reader import open_for_reading
from reconciler.store.writer import Store
from tests.postgres import PostgresServer
from tests.server.histories import History

ONE, OTHER = Node("one", "files of one"), Node("other", "files of the other")


@pytest.fixture
def data(postgres: PostgresServer) -> str:
    return postgres.new_database()


def opened(data: str, space: str, folder: Path) -> Store:
    return Store.open(parted(data).of(space), folder / space)


def sql(data: str, statement: str) -> None:
    with psycopg.connect(data, autocommit=True) as connection:
        connection.execute(statement.encode())


def shop(data: str, folder: Path) -> Place:
    """Make the state of a space with a task in it, and return its place."""
    place = place_of(str(folder.parent), parted(data).of("shop"), str(folder))
    with Store.open(place.data, place.files.root) as store:
        History(store, place.files).task(1)
    return place


def test_what_one_space_writes_no_other_sees(data: str, tmp_path: Path) -> None:
    with opened(data, "shop", tmp_path) as one, opened(data, "blog", tmp_path) as other:
        History(one, DataDirectory(tmp_path / "shop")).task(1)
        assert (len(one.read_now(tasks.tasks)), other.read_now(tasks.tasks)) == (1, [])
        assert other.write_now(lambda tx: counters.next_number(tx, "task")) == 1
        assert one.where == f"PostgreSQL at {data.partition('@')[2]}/shop"


def test_a_space_does_not_wait_for_the_turn_of_another(data: str, tmp_path: Path) -> None:
    with opened(data, "shop", tmp_path), opened(data, "blog", tmp_path) as other:
        writer = database_of(parted(data).of("shop")).connect()
        writer.begin()  # and keeps the turn
        assert other.write_now(lambda tx: counters.next_number(tx, "a")) == 1
        writer.rollback()
        writer.close()


def test_each_space_has_a_leader_of_its_own(data: str, tmp_path: Path) -> None:
    with opened(data, "shop", tmp_path) as shop, opened(data, "blog", tmp_path) as blog:
        assert shop.write_now(lambda tx: leadership.take(tx, ONE, 1.0)) == 1
        assert blog.write_now(lambda tx: leadership.take(tx, OTHER, 1.0)) == 1
        for store, node in ((shop, ONE), (blog, OTHER)):
            found = store.read_now(lambda tx: leadership.leader(tx, 1.0))
            assert found is not None
            assert found.node == node


def test_the_database_of_spaces_is_none_of_a_single_state(data: str, tmp_path: Path) -> None:
    for space in ("shop", "blog"):
        opened(data, space, tmp_path).close()
    with pytest.raises(UsageMistake) as writing:
        Store.open(data, tmp_path)
    with pytest.raises(UsageMistake) as reading:
        open_for_reading(data)
    where = f"PostgreSQL at {data.partition('@')[2]}"
    assert writing.value.message == reading.value.message == f"{where} holds the states of 2 spaces: blog, shop"
    assert writing.value.hint == reading.value.hint == "name one of them: --data postgresql://…/blog"


def test_a_single_state_becomes_that_of_a_space_by_one_statement(data: str, tmp_path: Path) -> None:
    with Store.open(data, tmp_path) as alone:
        alone.write_now(lambda tx: counters.next_number(tx, "a"))
    with pytest.raises(UsageMistake) as refused:
        opened(data, "shop", tmp_path)
    assert refused.value.message == (
        f"PostgreSQL at {data.partition('@')[2]}/shop cannot be made: "
        "the database holds a state that has no space in its address"
    )
    statement = 'ALTER SCHEMA public RENAME TO "shop"'
    assert refused.value.hint == f"if it is that of shop, run: {statement}; else name another database"
    sql(data, statement)
    with opened(data, "shop", tmp_path) as store:
        assert store.write_now(lambda tx: counters.next_number(tx, "a")) == 2
    opened(data, "blog", tmp_path).close()


def test_tables_of_another_program_beside_are_no_matter(data: str, tmp_path: Path) -> None:
    sql(data, "CREATE TABLE tasks (id integer)")
    with opened(data, "shop", tmp_path) as store:
        History(store, DataDirectory(tmp_path / "shop")).task(1)
    with psycopg.connect(data) as connection:
        assert connection.execute("SELECT count(*) FROM public.tasks").fetchone() == (0,)


def test_who_may_make_no_schema_takes_the_one_that_was_made_for_him(data: str, tmp_path: Path) -> None:
    sql(data, "CREATE ROLE tenant LOGIN")
    theirs = data.replace("postgres@", "tenant@")
    with pytest.raises(StateUnreadable, match="refuses: permission denied for database"):
        opened(theirs, "shop", tmp_path)
    sql(data, "CREATE SCHEMA shop AUTHORIZATION tenant")
    with opened(theirs, "shop", tmp_path) as store:
        assert store.write_now(lambda tx: counters.next_number(tx, "a")) == 1


def test_the_files_of_a_space_are_the_folder_of_its_name(data: str, tmp_path: Path) -> None:
    place = place_of(str(tmp_path), parted(data).of("shop"), str(tmp_path / "files"))
    assert place.files.root == tmp_path / "files" / "shop"
    assert place == Place(tmp_path, place.data, place_of(str(tmp_path), data, str(tmp_path / "files")).of("shop").files)


def test_a_backup_is_of_one_space_and_is_put_back_beside_others(
    data: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    place = shop(data, tmp_path / "here")
    opened(data, "blog", tmp_path).close()
    with (tmp_path / "b.tar").open("wb") as file:
        back_up(place, file, with_key=False)
    other = postgres.new_database()
    opened(other, "blog", tmp_path).close()
    there = place_of(str(tmp_path), parted(other).of("shop"), str(tmp_path / "there"))
    sql(other, "CREATE SCHEMA shop")  # as for somebody who may make none
    restore(tmp_path / "b.tar", there, "ann")
    with Store.open(there.data, there.files.root) as store:
        assert [task.id for task in store.read_now(tasks.tasks)] == [1]
        assert isinstance(store.write_now(lambda tx: leadership.take(tx, ONE, 1.0)), int)


@pytest.mark.parametrize(
    ("of", "to", "said"),
    [
        ("shop", "", ("the backup holds the state of the space shop", "name it: --data postgresql://…/shop")),
        ("shop", "blog", ("the backup holds the state of the space shop, not of blog", "name it: --data postgresql://…/shop")),
        (
            "", "shop", ("the backup holds a state that has no space in its address",
            'restore it into a database of its own, then run there: ALTER SCHEMA public RENAME TO "shop"'),
        ),
    ],
)  # fmt: skip
def test_a_backup_becomes_no_other_space(
    postgres: PostgresServer, tmp_path: Path, of: str, to: str, said: tuple[str, str]
) -> None:
    data = postgres.new_database()

    def address(database: str, space: str) -> str:
        return parted(database).of(space) if space else database

    place = place_of(str(tmp_path), address(data, of), str(tmp_path / "here"))
    with Store.open(place.data, place.files.root) as store:
        History(store, place.files).task(1)
    with (tmp_path / "b.tar").open("wb") as file:
        back_up(place, file, with_key=False)
    there = place_of(str(tmp_path), address(postgres.new_database(), to), str(tmp_path / "there"))
    with pytest.raises(UsageMistake) as refused:
        restore(tmp_path / "b.tar", there, "ann")
    assert (refused.value.message, refused.value.hint) == said


def test_the_doctor_looks_at_each_space(data: str, tmp_path: Path) -> None:
    place = shop(data, tmp_path / "files")
    opened(data, "blog", tmp_path / "files").close()
    server = place_of(str(tmp_path), data, str(tmp_path / "files"))
    found = [each for each in state_findings(server, 1e9) if each.check == "state"]
    assert [each.verdict for each in found] == [Verdict.FINE] * 2
    assert [each.sentence.partition(" has ")[0] for each in found] == [parted(data).of("blog"), place.data]
    one: list[Finding] = [each for each in state_findings(place, 1e9) if each.check == "state"]
    assert len(one) == 1
