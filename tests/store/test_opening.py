"""A state that cannot be used is refused in words: where, what, how to mend."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.errors import ReconcilerError, StateUnreadable
from reconciler.model.live import Event
from reconciler.store import audit
from reconciler.store.database import Transaction
from reconciler.store.reader import open_for_reading
from reconciler.store.writer import Store
from tests.store.conftest import without_rights


def refusal(place: Path, *, reading: bool = False) -> ReconcilerError:
    with pytest.raises(StateUnreadable) as refused:
        open_for_reading(str(place)) if reading else Store.open(str(place), place)
    return refused.value


def test_the_files_are_open_to_their_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with Store.open(str(place), place) as store:
        store.write_now(lambda tx: audit.record(tx, Event(1.0, "a", "b", "c")))
        modes = {path.name: path.stat().st_mode & 0o077 for path in (place, *place.iterdir())}
    assert set(modes.values()) == {0}, modes


@pytest.mark.parametrize("reading", [True, False])
def test_a_file_that_is_no_database(tmp_path: Path, *, reading: bool) -> None:
    (tmp_path / "state.db").write_text("The quick brown fox jumps over the lazy dog. " * 100)
    error = refusal(tmp_path, reading=reading)
    assert error.message == f"{tmp_path}/state.db is not a database"
    assert error.hint == "move the file away to begin with an empty state, or name another directory with --data"


@pytest.mark.parametrize("reading", [True, False])
def test_the_database_of_another_program(tmp_path: Path, *, reading: bool) -> None:
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    error = refusal(tmp_path, reading=reading)
    assert error.message == f"{tmp_path}/state.db is the database of another program (it holds the table bookmarks)"
    assert error.hint == "give reconciler a database of its own with --data"


def damage(place: Path, pages: slice) -> None:
    """Fill a state of some 150 pages, then overwrite those that `pages` says."""
    with Store.open(str(place), place) as store:
        store.write_now(lambda tx: [audit.record(tx, Event(1.0, "a", "b", "c" * 1000)) for _ in range(500)])
    path = place / "state.db"
    data = path.read_bytes()
    every = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    every[pages] = [b"\xff" * 4096] * len(every[pages])
    path.write_bytes(b"".join(every))


@pytest.mark.parametrize("reading", [True, False])
def test_a_database_that_is_damaged_at_its_head(tmp_path: Path, *, reading: bool) -> None:
    damage(tmp_path, slice(1, None))
    error = refusal(tmp_path, reading=reading)
    assert error.message == f"{tmp_path}/state.db is damaged: database disk image is malformed"
    assert error.hint == "keep the file and those beside it, and restore the state from a backup"


def test_a_database_that_is_damaged_further_on(tmp_path: Path) -> None:
    damage(tmp_path, slice(-50, None))
    with Store.open(str(tmp_path), tmp_path) as store, pytest.raises(StateUnreadable) as refused:
        store.read_now(lambda tx: audit.events(tx, limit=500))
    assert refused.value.message == f"{tmp_path}/state.db is damaged: database disk image is malformed"


def test_a_state_that_was_begun_and_never_finished_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert open_for_reading(str(tmp_path)) is None
    Store.open(str(tmp_path), tmp_path).close()
    assert open_for_reading(str(tmp_path)) is not None


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data"
    assert refusal(place).message == f"the data directory {place} cannot be made: Not a directory"
    assert refusal(place, reading=True).message == f"the state in {place}/state.db cannot be opened: Not a directory"


def test_a_directory_that_may_not_be_read(open_path: Path) -> None:
    place = open_path / "data"
    Store.open(str(place), place).close()
    with without_rights():
        error = refusal(place, reading=True)
    assert error.message == f"the state in {place}/state.db cannot be opened: Permission denied"
    assert error.hint == (
        "make the directory readable and writable for the user who runs this, or name another with --data"
    )


def test_a_directory_that_may_not_be_written(open_path: Path) -> None:
    with without_rights():
        error = refusal(open_path / "data")
    assert error.message == f"the data directory {open_path}/data cannot be made: Permission denied"
    assert error.hint == "make its parent writable for the user who runs this, or name another with --data"


def test_a_database_that_may_not_be_written(open_path: Path) -> None:
    Store.open(str(open_path), open_path).close()
    with without_rights():
        error = refusal(open_path)
    assert error.message == f"the state in {open_path}/state.db cannot be opened: Permission denied"


def test_a_full_disk_keeps_what_was_there_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with Store.open(str(small_disk), small_disk) as store:
        store.write_now(record("first"))
        ballast.write_bytes(b"x" * room_of(small_disk))
        with pytest.raises(StateUnreadable) as refused:
            store.write_now(record("x" * 200_000))
        assert refused.value.message == f"the disk that holds {small_disk}/state.db is full, nothing was written"
        assert refused.value.hint == "free space on it and run the command again"
        ballast.unlink()
        store.write_now(record("second"))
        assert [event.subject for event in store.read_now(audit.events)] == ["first", "second"]


def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    place = small_disk / "data"
    place.mkdir()
    (small_disk / "ballast").write_bytes(b"x" * room_of(small_disk))
    error = refusal(place)
    assert "full" in error.message or "No space left" in error.message


def test_a_store_that_is_closed_twice_is_closed(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path), tmp_path)
    store.close()
    store.close()
    with pytest.raises(AssertionError, match="the store is closed"):
        store.write_now(lambda tx: None)


def test_a_function_that_writes_inside_one_that_writes_is_a_bug(tmp_path: Path) -> None:
    with Store.open(str(tmp_path), tmp_path) as store:

        def nested(_: Transaction) -> None:
            store.write_now(lambda tx: None)

        with pytest.raises(AssertionError, match="a function that writes is one transaction"):
            store.write_now(nested)


def record(subject: str) -> Callable[[Transaction], int]:
    return lambda tx: audit.record(tx, Event(1.0, "a", "b", subject))


def room_of(place: Path) -> int:
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_bsize
