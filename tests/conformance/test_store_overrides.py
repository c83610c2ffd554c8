"""Every dialect remembers who drains which worker until when, and ends what is over."""

from dataclasses import replace

from reconciler.model.live import Override
from reconciler.model.spec import Address
from reconciler.store import audit, objects, overrides
from reconciler.store.writer import Store
from tests.server.parties import live

NOW = 4_000_000_000.0
"""Far ahead of the clock of any database that judges by its own time."""
DRAINED = Override("w1", "ada@desk", "disk swap", NOW, NOW + 60.0)


def put(store: Store, override: Override = DRAINED, spec: str = "{}") -> None:
    store.write_now(lambda tx: objects.put(tx, live("Worker", override.worker, spec)))
    store.write_now(lambda tx: overrides.put(tx, override))


def settled(store: Store, at: float) -> list[str]:
    """End what is over at a moment, and return what was recorded of it."""
    store.write_now(lambda tx: overrides.settle(tx, at))
    return [f"{event.actor} {event.action} {event.subject}: {event.detail}" for event in store.read_now(audit.events)]


def test_an_override_stands_until_it_is_ended(store: Store) -> None:
    put(store)
    put(store, replace(DRAINED, worker="w0"))
    assert list(store.read_now(lambda tx: overrides.standing(tx, NOW)).items()) == [
        ("w0", replace(DRAINED, worker="w0")),
        ("w1", DRAINED),
    ]
    assert store.read_now(lambda tx: overrides.of(tx, "w1", NOW)) == DRAINED
    assert settled(store, NOW) == []
    assert [store.write_now(lambda tx: overrides.end(tx, "w1")) for _ in range(2)] == [True, False]
    assert store.read_now(lambda tx: overrides.of(tx, "w1", NOW)) is None


def test_the_second_one_of_a_worker_keeps_since_when_it_drains(store: Store) -> None:
    put(store)
    later = Override("w1", "ben@desk", "still broken", NOW + 5.0, NOW + 90.0)
    put(store, later)
    assert store.read_now(lambda tx: overrides.of(tx, "w1", NOW)) == replace(later, since=NOW)


def test_it_follows_a_worker_to_its_new_name(store: Store) -> None:
    put(store)
    store.write_now(lambda tx: overrides.rename(tx, "w1", "w2"))
    assert store.read_now(lambda tx: overrides.standing(tx, NOW)) == {"w2": replace(DRAINED, worker="w2")}


def test_one_that_ran_out_stands_no_longer_and_is_ended_once(store: Store) -> None:
    put(store, replace(DRAINED, until=1.0))
    assert store.read_now(lambda tx: overrides.standing(tx, NOW)) == {}
    assert store.read_now(lambda tx: overrides.of(tx, "w1", NOW)) is None
    told = ["engine undrain Worker/w1: the live override of ada@desk ran out"]
    assert settled(store, NOW) == told
    assert settled(store, NOW) == told


def test_git_that_says_the_same_ends_it(store: Store) -> None:
    put(store, spec='{"state":"draining"}')
    assert settled(store, NOW) == [
        "engine undrain Worker/w1: the live override of ada@desk ends: Git declares that it is draining"
    ]


def test_a_worker_that_left_takes_its_override_with_it(store: Store) -> None:
    put(store)
    store.write_now(lambda tx: objects.remove(tx, Address("Worker", "w1")))
    assert settled(store, NOW) == [
        "engine undrain Worker/w1: the live override of ada@desk ends: the worker is not registered any more"
    ]
