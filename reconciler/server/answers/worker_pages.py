"""The list of workers in pages, of which each reads no more of the state than it shows."""

import json
import time
from collections.abc import Iterator

from reconciler.model.live import LiveObject, LiveState
from reconciler.model.spec import Address, canonical_json
from reconciler.schedule.fleet import Fleet
from reconciler.server.answers.overview import WorkerRow, builtin_row, fleet_in, leaving_rows, member_rows
from reconciler.store import objects
from reconciler.store.database import Transaction
from reconciler.store.drains import drains, occupants
from reconciler.store.leaving import leaving
from reconciler.store.overrides import standing
from reconciler.store.worker_status import status, statuses_between

FIRST, DECLARED, LEFT = "first", "declared", "left"
"""The parts of the list, as the place behind a row names them: `declared/NAME`."""

LOOKED_AT = 100
"""Workers that are read at once in search of one that is in a pool."""


def worker_page(tx: Transaction, after: str | None, limit: int) -> tuple[list[WorkerRow], str | None]:
    """Return the first `limit` rows behind a place, and the place behind them, unless the list ends there.

    The order is that of `worker_rows`: the built-in one, those declared, those that left Git with something on them.
    """
    part, _, name = (after or FIRST).partition("/")
    found: list[tuple[str, WorkerRow]] = []
    if part == FIRST:
        found.append((f"{DECLARED}/", builtin_row(_default_pool(tx), engine_runs=True)))
    if part in {FIRST, DECLARED}:
        live = _live(tx, objects.page(tx, Address("Worker", name if part == DECLARED else ""), "Worker", limit + 1))
        found += [(f"{DECLARED}/{row.name}", row) for row in member_rows(fleet_in(live), live, engine_runs=True)]
    if part in {FIRST, DECLARED, LEFT} and len(found) <= limit:
        behind = name if part == LEFT else ""
        found += [(f"{LEFT}/{row.name}", row) for row in _left(tx) if row.name > behind]
    return [row for _, row in found[:limit]], found[limit - 1][0] if len(found) > limit else None


def _live(tx: Transaction, workers: list[LiveObject]) -> LiveState:
    """Return as much of the live state as the rows of some workers are made of."""
    now = time.time()
    around = [one for kind in ("Space", "MachinePolicy") for one in objects.of_kind(tx, kind).values()]
    return LiveState(
        objects={one.address: one for one in (*around, *workers)},
        last_tasks={},
        at=now,
        workers=statuses_between(tx, workers[0].address.name, workers[-1].address.name) if workers else {},
        overrides=standing(tx, now),
        drains=drains(tx),
        occupants=occupants(tx),
    )


def _left(tx: Transaction) -> Iterator[WorkerRow]:
    names = leaving(tx)
    gone = {name: spec for name, spec in names.items() if objects.one(tx, Address("Worker", name)) is None}
    if gone:
        live = LiveState(
            objects={},
            last_tasks={},
            workers={name: found for name in gone if (found := status(tx, name)) is not None},
            drains=drains(tx),
            occupants=occupants(tx),
            leaving=gone,
        )
        yield from leaving_rows(live, engine_runs=True)


def _default_pool(tx: Transaction) -> Fleet:
    """Return the fleet as far as the built-in worker's row needs it: with one worker of the default pool, if it has any."""
    around = {one.address: one for kind in ("Space", "WorkerPool") for one in objects.of_kind(tx, kind).values()}
    fleet = fleet_in(LiveState(objects=around, last_tasks={}))
    member = _member(tx, fleet.default_pool)
    if member is None:
        return fleet
    return fleet_in(LiveState(objects={**around, member.address: member}, last_tasks={}))


def _member(tx: Transaction, pool: str) -> LiveObject | None:
    """Return a worker of a pool."""
    written, last = canonical_json(pool), ""
    while True:
        found = objects.mentioning(tx, Address("Worker", last), written, LOOKED_AT)
        for one in found:
            if pool in json.loads(one.spec)["pools"]:
                return one
        if len(found) < LOOKED_AT:
            return None
        last = found[-1].address.name
