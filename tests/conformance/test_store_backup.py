"""On every dialect, a backup that is made while others write holds one moment, and what is restored is that and older."""

import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.model.errors import ReconcilerError, UsageMistake
from reconciler.model.following import Condition, ConditionType, Judged, Proposal, Verdict, Why
from reconciler.model.live import AttemptState, StepState, TaskState
from reconciler.model.trust import EnrolmentToken
from reconciler.schedule.requests import Claim
from reconciler.server.state.archive import Manifest, read_backup
from reconciler.server.state.backup import back_up
from reconciler.server.state.place import Place as CommandPlace
from reconciler.server.state.restore import SUSPENDED, Restored, restore
from reconciler.store import (
    attempts,
    audit,
    claims,
    copies,
    counters,
    enrolment,
    following,
    leadership,
    leases,
    setting_back,
    tasks,
)
from reconciler.store.chain import Whole
from reconciler.store.directory import DataDirectory
from reconciler.store.leadership import Node
from reconciler.store.writer import Store
from tests.conformance.conftest import Place
from tests.pgbouncer import Pooler
from tests.postgres import PostgresServer
from tests.server.histories import History

ANN = "ann@desk"


def where(place: Place) -> CommandPlace:
    return CommandPlace(place.files, place.data, DataDirectory(place.files))


def backed_up(place: Place, to: Path) -> Manifest:
    with to.open("wb") as file:
        return back_up(where(place), file, with_key=False)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Choose a place of the two that backups know."""
    if request.param == "sqlite":
        return Place(str(tmp_path / "data"), tmp_path / "data")
    server: PostgresServer = request.getfixturevalue("postgres")
    return Place(server.new_database(), tmp_path / "files")


@pytest.fixture
def empty(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Choose a second place of the same kind where no store has been yet."""
    if not place.data.startswith("postgresql"):
        return Place(str(tmp_path / "again"), tmp_path / "again")
    server: PostgresServer = request.getfixturevalue("postgres")
    return Place(server.new_database(), tmp_path / "again")


def restored(file: Path, empty: Place) -> Restored:
    return restore(file, where(empty), ANN)


def test_what_was_written_before_is_there_and_nothing_later(place: Place, empty: Place, tmp_path: Path) -> None:
    with place.open() as store:
        history = History(store, DataDirectory(place.files))
        first = history.task(1)
        manifest = backed_up(place, tmp_path / "b.tar")
        history.task(0)
    assert manifest.counts == {"objects": 0, "tasks": 1, "attempts": 1, "events": 0}
    assert manifest.absent == ()
    assert read_backup(tmp_path / "b.tar") == manifest
    found = restored(tmp_path / "b.tar", empty)
    assert (found.abandoned, found.needs_key, found.access_tokens) == ((), False, 0)
    with empty.open() as store:
        history = History(store, DataDirectory(empty.files))
        assert [task.id for task in store.read_now(tasks.tasks)] == [first.id]
        assert history.log("1-1-1-abcd").read_bytes() == b"log of 1"
        assert history.kept()["blobs"] == {"artifact of 1", "echo shop in live 1"}
        assert isinstance(store.read_now(audit.verify), Whole)
    assert sorted(path.name for path in empty.files.iterdir() if path.name not in {"agent", "cache"}) == sorted(
        {"blobs", "lock", "logs", *(["state.db"] if empty.data == str(empty.files) else [])}
    )


def test_a_backup_beside_a_writer_is_of_one_moment(place: Place, empty: Place, tmp_path: Path) -> None:
    ends = threading.Event()
    with place.open() as store:

        def write() -> None:
            while not ends.is_set():
                store.write_now(lambda tx: (counters.next_number(tx, "a"), counters.next_number(tx, "b")))

        with ThreadPoolExecutor() as threads:
            writing = threads.submit(write)
            for number in range(3):
                backed_up(place, tmp_path / f"{number}.tar")
            ends.set()
            writing.result()
    restored(tmp_path / "2.tar", empty)
    with empty.open() as store:
        one, other = (store.read_now(lambda tx, name=name: counters.last_number(tx, name)) for name in "ab")
        assert one == other


def test_what_had_not_ended_is_abandoned_and_its_attempts_are_lost(place: Place, empty: Place, tmp_path: Path) -> None:
    with place.open() as store:
        history = History(store, DataDirectory(place.files))
        running = history.task(1, TaskState.RUNNING)
        store.write_now(lambda tx: claims.claim(tx, "1-1-1-abcd", [Claim("mutex/db", alone=True), Claim("w")], {}))
        queued = history.task(1, TaskState.QUEUED)
        applied = Condition(ConditionType.READY, status=True, reason="Applied", message="all is well", revision="r1")
        store.write_now(lambda tx: following.set_conditions(tx, [applied], 1.0))
        manifest = backed_up(place, tmp_path / "b.tar")
    assert restored(tmp_path / "b.tar", empty).abandoned == (running.id, queued.id)
    with empty.open() as store:
        assert store.read_now(tasks.unfinished) == []
        for number in (running.id, queued.id):
            task = store.read_now(lambda tx, number=number: tasks.task(tx, number))
            assert task.state is TaskState.ABANDONED
            assert task.reason.startswith("it had not ended at 20")
            assert task.reason.endswith("Z, when the state was backed up; what became of it since is unknown")
        (run,) = store.read_now(lambda tx: tasks.steps(tx, running.id))
        (attempt,) = store.read_now(lambda tx: attempts.attempts(tx, running.id))
        assert (run.state, attempt.state, attempt.finished_at) == (StepState.LOST, AttemptState.LOST, None)
        held = store.read_now(claims.held)
        assert held == {"1-1-1-abcd": [Claim("mutex/db", alone=True)]}, (
            "what it shared is free, what it had alone is not"
        )
        assert store.read_now(claims.mismatches) == []
        suspension = store.read_now(lambda tx: following.suspension(tx, manifest.made_at + 60))
        assert suspension is not None
        assert suspension.reason.startswith("restored from the backup of 20")
        assert suspension.until - suspension.since == SUSPENDED
        assert store.read_now(following.conditions) == {}, "nobody knows yet how the space is"
        (event,) = [event for event in store.read_now(audit.events) if event.action == "restore"]
        assert (event.actor, event.kind, event.origin[:11]) == (ANN, "person", "command on ")


def test_numbers_leap_and_what_holds_once_is_used_up(place: Place, empty: Place, tmp_path: Path) -> None:
    token = EnrolmentToken("id", "digest", "w1", (), False, "ann", 1.0, 9e9)
    judged = Judged("a" * 40, "Ann", "s", Verdict.APPLIED, "", 1.0, 1.0)
    proposal = Proposal("f" * 64, "a" * 40, Why.MANUAL, "1 to add", 1.0)
    with place.open() as store:
        History(store, DataDirectory(place.files)).task(1)
        fences = store.write_now(lambda tx: claims.claim(tx, "t", [Claim("mutex/db", alone=True)], {}))
        store.write_now(lambda tx: claims.release(tx, "t"))
        lease = store.write_now(lambda tx: leases.acquire(tx, "apply", "me", 60, 1.0))
        epoch = store.write_now(lambda tx: leadership.take(tx, Node("a", "files of a"), 1.0))
        store.write_now(lambda tx: attempts.set_worker_epoch(tx, "w1", 7))
        store.write_now(lambda tx: enrolment.put_token(tx, token))
        store.write_now(lambda tx: (following.judge(tx, judged), following.propose(tx, proposal)))
        backed_up(place, tmp_path / "b.tar")
    restored(tmp_path / "b.tar", empty)
    with empty.open() as store:
        history = History(store, DataDirectory(empty.files))
        assert history.task(0).id == 10_002
        tokens = store.write_now(
            lambda tx: claims.claim(tx, "t", [Claim("mutex/db", alone=True), Claim("mutex/never-seen", alone=True)], {})
        )
        assert min(tokens.values()) > max(fences.values()) + setting_back.LEAP
        again = store.write_now(lambda tx: leases.acquire(tx, "apply", "you", 60, 1.0))
        taken = store.write_now(lambda tx: leadership.take(tx, Node("b", "files of b"), 1.0))
        for old, new in ((lease, again), (epoch, taken)):
            assert isinstance(old, int)
            assert isinstance(new, int)
            assert new - old > setting_back.LEAP
        assert store.read_now(lambda tx: attempts.worker_epoch(tx, "w1")) == 7 + setting_back.LEAP
        (found,) = store.read_now(enrolment.tokens)
        assert found.revoked_at is not None
        assert store.read_now(following.proposals) == []
        assert [each.revision for each in store.read_now(following.commits)] == ["a" * 40]


def test_nothing_is_restored_over_anything(place: Place, empty: Place, tmp_path: Path) -> None:
    with place.open() as store:
        History(store, DataDirectory(place.files)).task(1)
        backed_up(place, tmp_path / "b.tar")
    restored(tmp_path / "b.tar", empty)
    with pytest.raises(ReconcilerError, match="is not empty"):
        restored(tmp_path / "b.tar", empty)


def test_a_restore_that_was_interrupted_begins_again(place: Place, empty: Place, tmp_path: Path) -> None:
    with place.open() as store:
        History(store, DataDirectory(place.files)).task(1)
        backed_up(place, tmp_path / "b.tar")
    (empty.files / "restoring" / "logs").mkdir(parents=True)
    (empty.files / "restoring" / "logs" / "half.journal").write_text("ha")
    (empty.files / "blobs" / "ab").mkdir(parents=True)
    restored(tmp_path / "b.tar", empty)
    with empty.open() as store:
        assert History(store, DataDirectory(empty.files)).kept()["logs"] == {"1"}
    assert not (empty.files / "restoring").exists()


def test_nobody_leads_on_a_database_whose_restore_was_not_ended(
    place: Place, postgres: PostgresServer, tmp_path: Path
) -> None:
    if not place.data.startswith("postgresql"):
        return
    with place.open() as store:
        History(store, DataDirectory(place.files)).task(1)
        backed_up(place, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as tar:
        tar.extract("state.dump", tmp_path, filter="data")
    data = postgres.new_database()
    copies.put_back(data, tmp_path / "state.dump")
    with Store.open(data, tmp_path / "f") as store:
        found = store.write_now(lambda tx: leadership.take(tx, Node("b", "files of b"), 1.0))
        assert isinstance(found, leadership.Leader)
        assert found.node.name == "an unfinished restore"


@pytest.mark.end_to_end
def test_nothing_goes_through_a_pooler(pgbouncer: Pooler, tmp_path: Path) -> None:
    here = Place(pgbouncer.new_database(), tmp_path / "files")
    with here.open() as store:
        store.write_now(lambda tx: counters.next_number(tx, "a"))
        with pytest.raises(UsageMistake) as caught:
            backed_up(here, tmp_path / "b.tar")
        assert caught.value.message == (
            "a pooler such as PgBouncer stands before the database, and backups do not go through one"
        )
        assert caught.value.hint == "name PostgreSQL itself with --data"
        with pytest.raises(UsageMistake, match="a pooler"):
            copies.is_empty(here.data)
        store.write_now(lambda tx: counters.next_number(tx, "a"))


def test_a_backup_goes_through_a_pipe(place: Place, tmp_path: Path) -> None:
    with place.open() as store:
        History(store, DataDirectory(place.files)).task(1)

        class Pipe(io.RawIOBase):
            def __init__(self) -> None:
                self.held = bytearray()

            def writable(self) -> bool:
                return True

            def write(self, data: object) -> int:
                self.held += data  # type: ignore[arg-type]  # bytes
                return len(data)  # type: ignore[arg-type]  # bytes

        pipe = Pipe()
        manifest = back_up(where(place), pipe, with_key=False)  # type: ignore[arg-type]  # it only writes
    (tmp_path / "b.tar").write_bytes(pipe.held)
    assert read_backup(tmp_path / "b.tar") == manifest
    with tarfile.open(tmp_path / "b.tar") as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        assert json.load(file)["type"] == "backup"
