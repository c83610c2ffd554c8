"""Live overrides: workers that a person drains whatever Git declares, until that ends by itself or Git agrees."""

import json
from collections.abc import Iterable, Iterator

from reconciler.model.live import Event, Override
from reconciler.model.spec import Address
from reconciler.store import audit
from reconciler.store.database import Transaction

ENGINE = "engine"
"""The actor of what ends by itself."""

_SELECT = "SELECT worker, made_by, reason, since, until FROM overrides "  # as Override


def put(tx: Transaction, override: Override) -> None:
    """Write an override, new or over the one of the same worker, which keeps since when it drains."""
    tx.execute(
        "INSERT INTO overrides (worker, made_by, reason, since, until) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (worker) DO UPDATE SET made_by = excluded.made_by, reason = excluded.reason,"
        " until = excluded.until",
        *(override.worker, override.by, override.reason, override.since, override.until),
    )


def end(tx: Transaction, worker: str) -> bool:
    """Forget the override of a worker; False if there was none."""
    return tx.execute("DELETE FROM overrides WHERE worker = ?", worker) == 1


def rename(tx: Transaction, old: str, new: str) -> None:
    """Let the override of a worker follow it to its new name."""
    tx.execute("UPDATE overrides SET worker = ? WHERE worker = ?", new, old)


def of(tx: Transaction, worker: str, now: float) -> Override | None:
    """Return the override of a worker that stands at `now`, in seconds since the epoch."""
    row = tx.one(_SELECT + "WHERE worker = ? AND until > ?", worker, tx.now(now))
    return Override(*row) if row else None


def standing(tx: Transaction, now: float) -> dict[str, Override]:
    """Return every override that stands at `now`, by worker."""
    rows = tx.all(_SELECT + "WHERE until > ? ORDER BY worker", tx.now(now))
    return {row[0]: Override(*row) for row in rows}


def draining(tx: Transaction, workers: Iterable[str], now: float) -> set[str]:
    """Return those of `workers` that an override drains at `now`, in seconds since the epoch."""
    rows = tx.batch(
        "SELECT worker, until FROM overrides JOIN {rows} ON worker = column1", ("text",), [(one,) for one in workers]
    )
    present = tx.now(now) if rows else now
    return {worker for worker, until in rows if until > present}


def over(tx: Transaction, now: float) -> dict[str, str]:
    """Say of each override that has ended by itself why: it ran out, Git agrees with it, or its worker is gone."""
    found = [Override(*row) for row in tx.all(_SELECT + "ORDER BY worker")]
    present = tx.now(now) if found else now
    return {one.worker: why for one in found for why in _endings(tx, one, present)}


def settle(tx: Transaction, now: float) -> None:
    """End the overrides that have ended by themselves, with an event for each."""
    ended = over(tx, now)
    for worker in ended:
        end(tx, worker)
    if ended:
        events = [Event(now, ENGINE, "undrain", f"Worker/{worker}", detail=why) for worker, why in ended.items()]
        audit.record_all(tx, events)


def _endings(tx: Transaction, found: Override, now: float) -> Iterator[str]:
    """Yield why an override is over, if it is."""
    row = tx.one("SELECT spec FROM objects WHERE kind = ? AND name = ?", *Address("Worker", found.worker))
    if row is None:
        yield f"the live override of {found.by} ends: the worker is not registered any more"
    elif json.loads(row[0]).get("state") == "draining":
        yield f"the live override of {found.by} ends: Git declares that it is draining"
    elif found.until <= now:
        yield f"the live override of {found.by} ran out"
