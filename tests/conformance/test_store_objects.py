"""Every dialect keeps live objects, the serial, the binding and what was applied."""

from dataclasses import replace

import pytest

from reconciler.model.errors import Conflict
from reconciler.model.live import Binding, LiveObject, LiveState
from reconciler.model.spec import Address, Position
from reconciler.store import objects, plans
from reconciler.store.writer import Store


def worker(name: str, spec: str = "{}") -> LiveObject:
    return LiveObject(Address("Worker", name), spec, '{"name":"ö"}', "d1", Position("a/w.yaml", 3, 5), "r1")


def test_an_object_comes_back_as_it_was_put(store: Store) -> None:
    obj = replace(worker("a"), generation=7, protected=True)
    store.write_now(lambda tx: objects.put(tx, obj))
    assert store.read_now(lambda tx: objects.one(tx, obj.address)) == obj


def test_putting_again_replaces_all_of_it(store: Store) -> None:
    store.write_now(lambda tx: objects.put(tx, worker("a")))
    later = LiveObject(Address("Worker", "a"), '{"x":1}', "{}", "d2", Position("b.yaml", 9, 2), "r2", 2, protected=True)
    store.write_now(lambda tx: objects.put(tx, later))
    assert store.read_now(objects.all_objects) == {later.address: later}


def test_places_move_and_nothing_else(store: Store) -> None:
    store.write_now(lambda tx: objects.put_many(tx, map(worker, "abc")))
    places = [(worker("a").address, Position("x.yaml", 7, 3)), (worker("c").address, Position("y.yaml", 1, 1))]
    store.write_now(lambda tx: objects.move(tx, places))
    found = store.read_now(objects.all_objects)
    assert found == {worker(name).address: worker(name) for name in "abc"} | {
        address: replace(worker(address.name), position=position) for address, position in places
    }


def test_objects_are_listed_in_the_order_of_bytes(store: Store) -> None:
    names = ["b", "a", "a-1", "a0", "z", "10", "9"]
    store.write_now(lambda tx: objects.put_many(tx, map(worker, names)))
    assert [address.name for address in store.read_now(objects.all_objects)] == sorted(names)


def test_a_removed_object_is_gone_and_removing_it_again_says_so(store: Store) -> None:
    address = worker("a").address
    store.write_now(lambda tx: objects.put(tx, worker("a")))
    assert store.write_now(lambda tx: objects.remove(tx, address))
    assert not store.write_now(lambda tx: objects.remove(tx, address))
    assert store.read_now(lambda tx: objects.one(tx, address)) is None


def test_a_renamed_object_keeps_everything_else(store: Store) -> None:
    old, new = Address("Worker", "a"), Address("Worker", "b")
    store.write_now(lambda tx: objects.put(tx, worker("a")))
    assert store.write_now(lambda tx: objects.rename(tx, old, new))
    assert not store.write_now(lambda tx: objects.rename(tx, old, Address("Worker", "c")))
    assert store.read_now(objects.all_objects) == {new: replace(worker("a"), address=new)}


def test_a_rename_never_swallows_another_object(store: Store) -> None:
    store.write_now(lambda tx: objects.put_many(tx, [worker("a"), worker("b")]))
    with pytest.raises(Conflict, match="Worker/a cannot be renamed: Worker/b exists already"):
        store.write_now(lambda tx: objects.rename(tx, Address("Worker", "a"), Address("Worker", "b")))


def test_an_empty_state_is_empty(store: Store) -> None:
    assert store.read_now(objects.live_state) == LiveState(objects={}, last_tasks={})


def test_the_live_state_holds_serial_binding_and_revision(store: Store) -> None:
    binding = Binding("default", "c0ffee", "infra")
    store.write_now(lambda tx: objects.bind(tx, Binding("default", "beef", "")))
    store.write_now(lambda tx: objects.bind(tx, binding))
    store.write_now(lambda tx: objects.record_revision(tx, "r1", 1.0))
    store.write_now(lambda tx: objects.record_revision(tx, "r2", 2.0))
    store.write_now(objects.next_serial)
    assert store.write_now(objects.next_serial) == 2
    assert store.read_now(objects.live_state) == LiveState({}, {}, serial=2, binding=binding, revision="r2")


def test_a_plan_is_applied_once(store: Store) -> None:
    assert store.read_now(lambda tx: plans.applied(tx, "p1")) is None
    assert store.write_now(lambda tx: plans.mark_applied(tx, "p1", "r1", 1.0))
    assert not store.write_now(lambda tx: plans.mark_applied(tx, "p1", "r2", 2.0))
    assert store.read_now(lambda tx: plans.applied(tx, "p1")) == "r1"
