"""Every dialect chains its events: written with what they tell, never forked, still whole when the oldest are pruned."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.errors import Conflict, StateUnreadable
from reconciler.model.live import ActorKind, Binding, Event
from reconciler.store import audit, migrations, objects
from reconciler.store.chain import Broken, Head, How, Whole
from reconciler.store.database import Transaction
from reconciler.store.exports import check_export, export
from reconciler.store.postgres import PostgresConnection
from reconciler.store.writer import Store
from tests.conformance.conftest import Place
from tests.postgres import PostgresServer

FULL = Event(
    1.25, "ann@desk", "update", "Worker/a", "done", "r1", "labels", kind=ActorKind.PERSON, origin="command on desk",
    plan="p" * 64, before='{"a":1}', after='{"a":"ü"}',
)  # fmt: skip
TAMPERED: dict[str, str | float] = {
    "at": 1.5, "actor": "eve", "action": "create", "subject": "Worker/b", "outcome": "failed", "revision": "r2",
    "detail": "", "kind": "engine", "origin": "", "space": "other", "plan": "", "before": "", "after": "null",
    "previous": "", "hash": "0" * 64,
}  # fmt: skip


INSERT = (
    "INSERT INTO events (at, actor, action, subject, outcome, revision, detail, id, kind, origin, space, plan,"
    " before, after, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def events(count: int, at: float = 1.0) -> list[Event]:
    return [Event(at + n, "ann", "update", f"Worker/{n}") for n in range(count)]


def fill(store: Store, count: int, at: float = 1.0) -> None:
    store.write_now(lambda tx: audit.record_all(tx, events(count, at)))


def found(store: Store) -> Whole | Broken:
    return store.read_now(audit.verify)


def head(store: Store) -> Head:
    return store.read_now(audit.end)


def execute(store: Store, sql: str, *values: str | float) -> None:
    store.write_now(lambda tx: tx.execute(sql, *values))


def test_an_event_is_kept_with_all_that_it_says_and_its_space(store: Store) -> None:
    store.write_now(lambda tx: audit.record(tx, FULL))
    store.write_now(lambda tx: objects.bind(tx, Binding("shop", "", "")))
    store.write_now(lambda tx: audit.record(tx, FULL))
    assert store.read_now(audit.events) == [replace(FULL, id=1), replace(FULL, id=2, space="shop")]
    assert found(store) == Whole(2, 1, head(store))


def test_what_a_person_says_with_a_nul_in_it_leaves_the_chain_whole(store: Store) -> None:
    store.write_now(lambda tx: audit.record(tx, replace(FULL, detail="a\0b")))
    assert [event.detail for event in store.read_now(audit.events)] == ["a\ufffdb"]
    assert found(store) == Whole(1, 1, head(store))


def test_a_state_without_events_holds(store: Store) -> None:
    assert found(store) == Whole(0, 0, Head())


@pytest.mark.parametrize("column", TAMPERED)
def test_a_row_that_somebody_changed_is_found(store: Store, column: str) -> None:
    for _ in range(3):
        store.write_now(lambda tx: audit.record(tx, FULL))
    execute(store, f"UPDATE events SET {column} = ? WHERE id = 2", TAMPERED[column])
    assert found(store) == Broken(2, How.CHANGED, "it is not what its hash was made of")


def test_rows_that_somebody_removed_are_found(store: Store) -> None:
    fill(store, 5)
    execute(store, "DELETE FROM events WHERE id = 5")
    assert found(store) == Broken(5, How.CUT_OFF, "event 5 is missing at the end")
    execute(store, "DELETE FROM events WHERE id = 3")
    assert found(store) == Broken(3, How.REMOVED, "event 3 is missing")
    execute(store, "DELETE FROM events WHERE id < 3")
    assert found(store) == Broken(1, How.REMOVED, "events 1 to 3 are missing, and no prune tells of it")
    execute(store, "DELETE FROM events")
    assert found(store) == Broken(1, How.CUT_OFF, "events 1 to 5 are missing")


def test_what_is_written_on_after_a_row_was_changed_does_not_hide_it(store: Store) -> None:
    fill(store, 2)
    execute(store, "UPDATE events SET detail = 'nothing happened' WHERE id = 1")
    fill(store, 2)
    assert found(store) == Broken(1, How.CHANGED, "it is not what its hash was made of")


def test_a_state_that_does_not_know_its_last_event_is_neither_written_nor_trusted(store: Store) -> None:
    fill(store, 2)
    execute(store, "DELETE FROM heads")
    for attempt in (lambda: fill(store, 1), lambda: found(store)):
        with pytest.raises(StateUnreadable, match="the state does not tell which event of the audit is the last"):
            attempt()


def test_pruned_events_leave_a_chain_that_holds(store: Store) -> None:
    fill(store, 10)
    assert store.write_now(lambda tx: audit.prune(tx, 5.0, 20.0)) == 4
    assert found(store) == Whole(7, 5, head(store))
    told = store.read_now(lambda tx: audit.newest(tx, 1))[0]
    assert (told.actor, told.action, told.subject) == ("engine", "prune", "audit")
    assert told.detail == "the events up to 4 are removed"
    assert store.write_now(lambda tx: audit.prune(tx, 5.0, 21.0)) == 0
    assert store.write_now(lambda tx: audit.prune(tx, 8.0, 22.0)) == 3
    assert found(store) == Whole(5, 8, head(store))
    assert store.write_now(lambda tx: audit.prune(tx, 99.0, 23.0)) == 5
    assert found(store) == Whole(1, 13, head(store))
    fill(store, 1)
    assert found(store) == Whole(2, 13, head(store))


def test_what_somebody_removes_beside_what_was_pruned_is_found(store: Store) -> None:
    fill(store, 10)
    store.write_now(lambda tx: audit.prune(tx, 5.0, 20.0))
    execute(store, "DELETE FROM events WHERE id = 5")
    assert found(store) == Broken(5, How.REMOVED, "event 5 is missing, and no prune tells of it")


def test_events_that_come_back_after_they_were_pruned_are_found(store: Store) -> None:
    fill(store, 10)
    former = store.read_now(lambda tx: audit.page(tx, 2, 2))
    store.write_now(lambda tx: audit.prune(tx, 5.0, 20.0))
    store.write_now(lambda tx: tx.many(INSERT, [audit._row(link) for link in former]))
    assert found(store) == Broken(3, How.INSERTED, "the events up to 4 were pruned")


def test_events_behind_one_that_is_kept_are_kept(store: Store) -> None:
    """Let a clock jump: times fall, numbers do not."""
    for at in (1.0, 50.0, 2.0, 60.0):
        fill(store, 1, at)
    assert store.write_now(lambda tx: audit.prune(tx, 10.0, 70.0)) == 1
    assert [event.at for event in store.read_now(audit.events)] == [50.0, 2.0, 60.0, 70.0]
    assert found(store) == Whole(4, 2, head(store))


def test_an_export_of_more_than_a_page_is_whole_though_more_is_recorded_meanwhile(store: Store) -> None:
    fill(store, 2_500)
    end = head(store)
    lines = []
    for line in export(store.read_now, end, audit.ALL):
        lines.append(f"{line}\n".encode())
        if len(lines) == 10:
            fill(store, 10)
    assert check_export(lines).found == Whole(2_500, 1, end)


def test_a_selection_is_by_time_actor_and_subject(store: Store) -> None:
    fill(store, 10)
    store.write_now(lambda tx: audit.record(tx, replace(FULL, at=4.0)))

    def chosen(**wanted: float | str) -> list[int]:
        selection = audit.Selection(**wanted)  # type: ignore[arg-type]  # the names say of which type each is
        return [event.id for event in store.read_now(lambda tx: audit.newest(tx, 100, selection))]

    assert chosen(since=9.0) == [9, 10]
    assert chosen(until=3.0) == [1, 2]
    assert chosen(since=4.0, until=5.0) == [4, 11]
    assert chosen(actor="ann@desk") == [11]
    assert chosen(subject="Worker/3", actor="ann") == [4]


def test_stores_that_record_at_once_make_one_chain(place: Place) -> None:
    place.open().close()
    failures: list[Exception] = []

    def record_some() -> None:
        try:
            with place.open() as store:
                for _ in range(20):
                    fill(store, 3)
        except Exception as error:  # noqa: BLE001 - seen by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=record_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with place.open() as store:
        assert found(store) == Whole(240, 1, head(store))


def test_a_writer_that_did_not_wait_for_its_turn_forks_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    address = postgres.new_database()
    with Store.open(address, tmp_path) as store:
        fill(store, 1)
        early, late = PostgresConnection(address, b"BEGIN"), PostgresConnection(address, b"BEGIN")
        for connection in (early, late):
            connection.begin()
        begin = audit.end(late)
        audit.record(early, FULL)
        early.commit()
        with pytest.raises(Conflict) as refused:
            audit._move(late, begin, Head(2, "f" * 64))
        late.rollback()
        early.close()
        late.close()
        assert refused.value.message == "another writer has recorded events at the same moment"
        assert found(store) == Whole(2, 1, head(store))


def test_events_from_before_there_was_a_chain_are_chained(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = migrations.migrations()
    first = next(number for number, text in enumerate(now) if "INSERT INTO heads" in text)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", lambda: now[:first])
        patched.setattr(audit, "chain_all", lambda tx: None)
        with place.open() as store:
            store.write_now(_as_before)
    with place.open() as store:
        assert found(store) == Whole(4, 1, head(store))
        seen = store.read_now(audit.events)
        assert [event.kind for event in seen] == ["engine", "controller", "agent", "person"]
        assert {event.space for event in seen} == {"shop"}
        assert store.write_now(lambda tx: audit.record(tx, FULL)) == 5
        assert found(store) == Whole(5, 1, head(store))


def _as_before(tx: Transaction) -> None:
    """Record events as the versions without a chain did."""
    objects.bind(tx, Binding("shop", "", ""))
    for number, actor in enumerate(("engine", "serve", "agent SHA256:x", "ann@desk"), 1):
        tx.execute(
            "INSERT INTO events (id, at, actor, action, subject, outcome, revision, detail)"
            " VALUES (?, 1.5, ?, 'update', 'Worker/a', 'done', '', '')",
            *(number, actor),
        )
    tx.execute("INSERT INTO counters (name, value) VALUES ('event', 4)")
