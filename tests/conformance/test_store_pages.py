"""Every dialect gives lists in pages that together are the list, and reads a few rows at once."""

import asyncio
import json

import pytest

from reconciler.model.live import Attempt, AttemptState, LiveObject, Override, SeenWorker
from reconciler.model.spec import Address, canonical_json
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.answers.overview import WorkerRow, worker_rows
from reconciler.server.answers.worker_pages import LOOKED_AT, worker_page
from reconciler.store import attempts, leaving, objects, overrides, worker_status
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps
from tests.server.parties import live

NOW = 4_000_000_000.0
"""Far ahead of the clock of any database that judges by its own time."""
NAMES = ("a", "a-1", "a-b", "a_b", "ab", "b", "built", "c-09", "c-10", "z")


def worker(name: str, *pools: str, state: str = "enabled") -> LiveObject:
    endpoint = {"polling": {"subscription": f"poll://{name}", "thumbprints": []}}
    return live("Worker", name, canonical_json({"endpoint": endpoint, "pools": list(pools), "state": state}))


def walk(store: Store, kind: str | None, limit: int) -> list[Address]:
    found: list[Address] = []
    after = Address(kind or "", "")
    while page := store.read_now(lambda tx, after=after: objects.page(tx, after, kind, limit)):
        assert len(page) <= limit
        found += [one.address for one in page]
        after = page[-1].address
    return found


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_of_objects_are_the_list(store: Store, limit: int) -> None:
    put = [live(kind, name, "{}") for name in NAMES for kind in ("Worker", "Project", "WorkerPool")]
    store.write_now(lambda tx: objects.put_many(tx, put))
    whole = list(store.read_now(objects.all_objects))
    assert walk(store, None, limit) == whole
    assert walk(store, "Worker", limit) == [address for address in whole if address.kind == "Worker"]
    assert store.read_now(lambda tx: objects.names(tx, "Worker")) == [
        address.name for address in whole if address.kind == "Worker"
    ]


def test_a_page_goes_on_behind_an_object_that_was_removed_meanwhile(store: Store) -> None:
    store.write_now(lambda tx: objects.put_many(tx, [live("Worker", name, "{}") for name in "abc"]))
    store.write_now(lambda tx: objects.remove(tx, Address("Worker", "b")))
    page = store.read_now(lambda tx: objects.page(tx, Address("Worker", "b"), "Worker", 9))
    assert [one.address.name for one in page] == ["c"]


def fill(tx: Transaction) -> None:
    """Make workers of every kind of row: met, lost, never met, draining by hand and by Git, and one that has left."""
    objects.put(tx, live("Space", "shop", "{}"))
    objects.put(tx, live("WorkerPool", "web", "{}"))
    objects.put_many(tx, [worker(name, "web") for name in NAMES])
    objects.put(tx, worker("d", "web", state="draining"))
    for name in ("a-1", "ab", "z"):
        worker_status.see(tx, name, SeenWorker(NOW, "127.0.0.1", "1", "boot", "store", 1, {}))
    worker_status.lose(tx, "b", "refused", NOW)
    overrides.put(tx, Override("c-09", "ann", "disk", NOW, NOW + 60.0))
    task = queued_with_steps(tx)
    attempts.grant(
        tx, [(Attempt("t1", task.id, 0, 1, "gone", 1, AttemptState.GRANTED, "{}", granted_at=NOW - 5.0), "")]
    )
    assert leaving.keep(tx, "gone", worker("gone", "web").spec)


def rows_in_pages(store: Store, limit: int) -> list[WorkerRow]:
    found: list[WorkerRow] = []
    after: str | None = None
    while True:
        rows, after = store.read_now(lambda tx, after=after: worker_page(tx, after, limit))
        found += rows
        assert len(rows) == limit or after is None
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
@pytest.mark.parametrize("default", ["none", "without-workers", "with-a-worker"])
def test_pages_of_workers_are_the_list(store: Store, limit: int, default: str) -> None:
    store.write_now(fill)
    if default != "none":
        store.write_now(lambda tx: objects.put(tx, live("WorkerPool", "p_1", '{"default":true}')))
        store.write_now(lambda tx: objects.put(tx, worker("near", "pX1")))
    if default == "with-a-worker":
        store.write_now(lambda tx: objects.put(tx, worker("w", "web", "p_1")))
    whole = worker_rows(store.read_now(objects.live_state), engine_runs=True)
    assert [whole[0].name, whole[-1].name] == [BUILTIN, "gone"]
    shown = rows_in_pages(store, limit)
    assert sorted(shown, key=str) == sorted(whole, key=str)
    assert (shown[0], shown[-1]) == (whole[0], whole[-1])


def test_the_worker_of_the_default_pool_is_found_behind_many_that_only_speak_of_it(store: Store) -> None:
    near = [
        live("Worker", f"a{number:03}", json.dumps({"endpoint": {"polling": {}}, "pools": ["web"], "x": "default"}))
        for number in range(LOOKED_AT + 3)
    ]
    store.write_now(lambda tx: objects.put_many(tx, near))
    assert rows_in_pages(store, 50)[0].state == "healthy; runs the steps of default"
    store.write_now(lambda tx: objects.put(tx, worker("z", "default")))
    assert rows_in_pages(store, 50)[0].state == "healthy; idle, since default has workers"


def test_a_place_that_no_page_named_is_behind_the_end(store: Store) -> None:
    store.write_now(fill)
    assert store.read_now(lambda tx: worker_page(tx, "nowhere", 5)) == ([], None)


async def test_a_glance_sees_what_was_written_before_it(store: Store) -> None:
    for name in "abc":
        await store.write(lambda tx, name=name: objects.put(tx, live("Worker", name, "{}")))
        found = await asyncio.gather(*(store.glance(lambda tx: objects.names(tx, "Worker")) for _ in range(5)))
        assert all(names[-1] == name for names in found)
    await asyncio.to_thread(store.write_now, lambda tx: objects.remove(tx, Address("Worker", "c")))
    assert await store.glance(lambda tx: objects.names(tx, "Worker")) == ["a", "b"]
