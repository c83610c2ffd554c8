"""Every dialect records where each drain is: what is left, since when nothing is, and what its deadline means."""

from reconciler.model.live import Attempt, AttemptState, Drain, Occupant, Override, TaskId
from reconciler.model.spec import Address
from reconciler.store import attempts, audit, drains, leaving, objects, overrides
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps
from tests.server.parties import live

NOW = 4_000_000_000.0
"""Far ahead of the clock of any database that judges by its own time."""
WAITS = '{"drain":{"deadline":"10m","then":"wait"},"state":"draining"}'
CANCELS = '{"drain":{"deadline":"90s","then":"cancel"},"state":"draining"}'


def declare(store: Store, spec: str) -> None:
    store.write_now(lambda tx: objects.put(tx, live("Worker", "w1", spec)))


def begin(store: Store, ticket: str = "t1") -> None:
    """Let an attempt live on the worker."""

    def work(tx: Transaction) -> None:
        task = queued_with_steps(tx)
        attempts.grant(
            tx, [(Attempt(ticket, task.id, 0, 1, "w1", 1, AttemptState.GRANTED, "{}", granted_at=NOW - 5.0), "")]
        )

    store.write_now(work)


def end(store: Store, ticket: str = "t1") -> None:
    store.write_now(lambda tx: attempts.ended(tx, [attempts.Ended(ticket, "{}", NOW, log_length=0, log_digest="")]))


def look(store: Store, at: float) -> Drain | None:
    """Look at a moment, record what was found, and return the drain."""
    store.write_now(lambda tx: drains.record(tx, drains.look(tx, at)))
    assert store.read_now(lambda tx: drains.look(tx, at)).is_empty, "a second look finds nothing new"
    return store.read_now(drains.drains).get("w1")


def told(store: Store) -> list[str]:
    events = store.read_now(audit.events)
    return [f"{event.actor} {event.action} {event.subject} {event.outcome}: {event.detail}" for event in events]


def test_who_is_enabled_has_no_drain(store: Store) -> None:
    declare(store, '{"labels":{"note":"state\\":\\"draining"}}')
    begin(store)
    assert look(store, NOW) is None


def test_a_drain_ends_when_nothing_is_left_and_goes_on_when_something_came_at_the_last_moment(store: Store) -> None:
    declare(store, WAITS)
    begin(store)
    assert look(store, NOW) == Drain("w1", NOW)
    end(store)
    assert look(store, NOW + 75.0) == Drain("w1", NOW, NOW + 75.0)
    begin(store, "t2")
    assert look(store, NOW + 80.0) == Drain("w1", NOW)
    assert told(store) == ["engine drained Worker/w1 done: nothing runs there any more, after 75 s"]
    declare(store, '{"state":"enabled"}')
    assert look(store, NOW + 90.0) is None


def test_past_its_deadline_a_drain_that_waits_is_stalled_and_that_is_told_once(store: Store) -> None:
    declare(store, WAITS)
    begin(store)
    look(store, NOW)
    assert look(store, NOW + 599.0) == Drain("w1", NOW)
    assert look(store, NOW + 600.0) == Drain("w1", NOW, overdue_at=NOW + 600.0)
    assert look(store, NOW + 700.0) == Drain("w1", NOW, overdue_at=NOW + 600.0)
    assert told(store) == [
        "engine stall Worker/w1 failed: the drain has 1 attempt still there after its deadline of 10m"
    ]
    assert store.read_now(lambda tx: drains.cancelled(tx, NOW + 700.0)) == {}


def test_past_its_deadline_a_drain_that_cancels_says_what(store: Store) -> None:
    declare(store, CANCELS)
    for ticket in ("t1", "t2"):
        begin(store, ticket)
    look(store, NOW)
    assert store.read_now(lambda tx: drains.cancelled(tx, NOW)) == {}
    look(store, NOW + 90.0)
    sentence = "cancelled by the drain of w1: its deadline of 90s has passed"
    assert store.read_now(lambda tx: drains.cancelled(tx, NOW + 91.0)) == {"w1": {"t1": sentence, "t2": sentence}}
    assert told(store) == [
        "engine cancel Worker/w1 done: the drain cancels 2 attempts still there after its deadline of 90s"
    ]


def test_a_worker_that_left_drains_by_its_last_block(store: Store) -> None:
    declare(store, CANCELS.replace('"draining"', '"enabled"'))
    begin(store)
    store.write_now(lambda tx: leaving.keep(tx, "w1", CANCELS.replace('"draining"', '"enabled"')))
    store.write_now(lambda tx: objects.remove(tx, Address("Worker", "w1")))
    assert look(store, NOW) == Drain("w1", NOW)
    look(store, NOW + 90.0)
    assert list(store.read_now(lambda tx: drains.cancelled(tx, NOW + 90.0))) == ["w1"]
    end(store)
    assert look(store, NOW + 95.0) is None
    assert told(store)[-1] == "engine drained Worker/w1 done: nothing runs there any more, after 95 s"


def test_a_drain_by_hand_has_its_deadline_from_its_order_on(store: Store) -> None:
    declare(store, '{"drain":{"deadline":"90s","then":"cancel"}}')
    begin(store)
    store.write_now(lambda tx: overrides.put(tx, Override("w1", "ada@desk", "disk swap", NOW - 100.0, NOW + 900.0)))
    assert look(store, NOW) == Drain("w1", NOW - 100.0, overdue_at=NOW)
    assert list(store.read_now(lambda tx: drains.cancelled(tx, NOW))) == ["w1"]
    store.write_now(lambda tx: overrides.end(tx, "w1"))
    assert look(store, NOW + 1.0) is None
    assert store.read_now(lambda tx: drains.cancelled(tx, NOW + 1.0)) == {}


def test_occupants_are_told_by_worker_the_oldest_first(store: Store) -> None:
    begin(store, "t1")
    begin(store, "t0")
    end(store, "t1")
    (occupant,) = store.read_now(drains.occupants)["w1"]
    assert occupant == Occupant("t0", TaskId(2), "shop-production", NOW - 5.0, "step-0")
