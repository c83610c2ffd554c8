"""Look after drains: end overrides that are over, record where each drain is, cancel what one has no patience with."""

import asyncio
import time

from reconciler.execute.dispatch import Dispatcher
from reconciler.store import drains, overrides
from reconciler.store.database import Transaction
from reconciler.store.writer import Store

EVERY = 5.0
"""Seconds from one look to the next."""


async def look_after_drains(store: Store, dispatcher: Dispatcher, every: float = EVERY) -> None:
    """Look at drains until cancelled."""
    while True:
        await look_at_drains(store, dispatcher)
        await asyncio.sleep(every)


async def look_at_drains(store: Store, dispatcher: Dispatcher) -> None:
    """Look at every drain once."""
    now = time.time()
    over, found = await store.read(lambda tx: (overrides.over(tx, now), drains.look(tx, now)))
    if over or not found.is_empty:
        await store.write(lambda tx: _record(tx, now))
    if over:
        dispatcher.wake()
    for worker, tickets in (await store.read(lambda tx: drains.cancelled(tx, now))).items():
        dispatcher.withdraw(worker, tickets)


def _record(tx: Transaction, now: float) -> None:
    overrides.settle(tx, now)
    drains.record(tx, drains.look(tx, now))
