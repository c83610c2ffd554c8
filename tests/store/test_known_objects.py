"""Objects that an engine knows are those of the state, whoever has written meanwhile, and few of them are read again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.live import LiveObject
from reconciler.model.spec import Address, Position
from reconciler.store import objects
from reconciler.store.database import Transaction
from reconciler.store.known_objects import NOTED_MAX, KnownObjects, Written
from reconciler.store.writer import Store

NAMES = ("a", "b", "c", "d")


def worker(name: str, digest: str) -> LiveObject:
    return LiveObject(Address("Worker", name), "{}", "{}", digest, Position("w.yaml", 1, 1), "r1")


@contextmanager
def opened() -> Iterator[Store]:
    with TemporaryDirectory() as folder, Store.open(folder, Path(folder)) as store:
        yield store


def put(store: Store, name: str, digest: str) -> Written:
    def work(tx: Transaction) -> Written:
        objects.put(tx, worker(name, digest))
        serial = objects.next_serial(tx)
        return Written(serial - 1, serial, frozenset({Address("Worker", name)}))

    return store.write_now(work)


def move(store: Store, name: str, other: str) -> Written:
    """Take one object away, and give its name to another one where that is there."""

    def work(tx: Transaction) -> Written:
        former, latter = Address("Worker", name), Address("Worker", other)
        objects.remove(tx, latter)
        objects.rename(tx, former, latter)
        serial = objects.next_serial(tx, 2)
        return Written(serial - 2, serial, frozenset({former, latter}))

    return store.write_now(work)


Step = tuple[str, str, bool, bool]
"""Two names, whether the write is noted, and whether the objects are looked at after it."""


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans(), st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_known_is_what_the_state_holds(steps: list[Step]) -> None:
    with opened() as store:
        known = KnownObjects()
        for number, (name, other, noted, looked) in enumerate(steps):
            written = put(store, name, str(number)) if name == other else move(store, name, other)
            if noted:
                known.note(written)
            if looked:
                assert list(store.read_now(known.at).items()) == list(store.read_now(objects.all_objects).items())


def test_only_what_was_written_is_read_again() -> None:
    with opened() as store:
        put(store, "a", "1")
        put(store, "b", "1")
        before = store.read_now(store.known.at)
        store.known.note(put(store, "b", "2"))
        after = store.read_now(store.known.at)
        assert after[Address("Worker", "a")] is before[Address("Worker", "a")]
        assert after[Address("Worker", "b")] == worker("b", "2")
        assert before[Address("Worker", "b")] == worker("b", "1")
        assert store.read_now(store.known.at) is after


def test_a_write_of_another_engine_lets_everything_be_read() -> None:
    with opened() as store:
        put(store, "a", "1")
        store.read_now(store.known.at)
        put(store, "a", "2")
        store.known.note(put(store, "b", "1"))
        assert store.read_now(store.known.at) == store.read_now(objects.all_objects)


def test_an_older_look_that_ends_later_is_not_taken_for_the_newest() -> None:
    with opened() as store:
        put(store, "a", "1")

        def look(tx: Transaction) -> None:
            objects.last_revision(tx)  # from here on it sees the state as it is now
            put(store, "a", "2")
            assert store.read_now(store.known.at)[Address("Worker", "a")] == worker("a", "2")
            assert store.known.at(tx)[Address("Worker", "a")] == worker("a", "1")

        store.read_now(look)
        assert store.read_now(store.known.at)[Address("Worker", "a")] == worker("a", "2")


def test_writes_that_nobody_looks_after_are_forgotten() -> None:
    with opened() as store:
        put(store, "a", "1")
        store.read_now(store.known.at)
        for number in range(NOTED_MAX + 1):
            store.known.note(Written(number + 1, number + 2, frozenset()))
        put(store, "a", "2")
        assert store.read_now(store.known.at) == store.read_now(objects.all_objects)


def test_a_database_that_has_gone_back_is_read_again() -> None:
    known = KnownObjects()
    with opened() as store:
        known.note(put(store, "a", "lost"))
        store.read_now(known.at)

        def lose_a_commit(tx: Transaction) -> None:
            objects.remove(tx, Address("Worker", "a"))
            tx.execute("UPDATE counters SET value = value - 1 WHERE name = 'serial'")

        store.write_now(lose_a_commit)
        known.note(put(store, "b", "new"))
        assert store.read_now(known.at) == store.read_now(objects.all_objects)
        assert [address.name for address in store.read_now(known.at)] == ["b"]
