"""Every dialect remembers how each worker was last found, and since when that has been so."""

from dataclasses import replace

from reconciler.model.live import SeenWorker, WorkerHealth, WorkerStatus
from reconciler.store import worker_status
from reconciler.store.writer import Store

SEEN = SeenWorker(10.0, "10.0.0.5:41000", "0.1.0", "boot-1", "store-1", 3, {"bash": "5.2", "isolation": "none"})


def status(store: Store, worker: str = "worker-1") -> WorkerStatus:
    return store.read_now(worker_status.statuses)[worker]


def see(store: Store, seen: SeenWorker = SEEN) -> None:
    store.write_now(lambda tx: worker_status.see(tx, "worker-1", seen))


def lose(store: Store, reason: str, at: float) -> None:
    store.write_now(lambda tx: worker_status.lose(tx, "worker-1", reason, at))


def test_a_worker_that_greeted_is_healthy_since_its_first_greeting(store: Store) -> None:
    see(store)
    assert status(store) == WorkerStatus("worker-1", WorkerHealth.HEALTHY, 10.0, "", SEEN)
    later = replace(SEEN, at=20.0, incarnation=4, capabilities={})
    see(store, later)
    assert status(store) == WorkerStatus("worker-1", WorkerHealth.HEALTHY, 10.0, "", later)


def test_a_lost_worker_is_unavailable_since_then_whatever_the_reason_becomes(store: Store) -> None:
    see(store)
    lose(store, "no heartbeat for 15 s", 30.0)
    lose(store, "connection refused", 40.0)
    assert status(store) == WorkerStatus("worker-1", WorkerHealth.UNAVAILABLE, 30.0, "connection refused", SEEN)


def test_a_worker_that_comes_back_is_healthy_since_then_without_a_reason(store: Store) -> None:
    see(store)
    lose(store, "no heartbeat for 15 s", 30.0)
    back = replace(SEEN, at=50.0)
    see(store, back)
    assert status(store) == WorkerStatus("worker-1", WorkerHealth.HEALTHY, 50.0, "", back)


def test_a_worker_that_was_never_reached_has_no_face(store: Store) -> None:
    lose(store, "connection refused", 5.0)
    assert status(store) == WorkerStatus("worker-1", WorkerHealth.UNAVAILABLE, 5.0, "connection refused")


def test_workers_are_listed_by_name(store: Store) -> None:
    for name in ("b", "a"):
        store.write_now(lambda tx, name=name: worker_status.see(tx, name, SEEN))
    assert list(store.read_now(worker_status.statuses)) == ["a", "b"]
