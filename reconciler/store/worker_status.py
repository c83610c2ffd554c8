"""How each worker was last found: healthy since it greeted, or not reached since when and why."""

import json
from collections.abc import Iterable

from reconciler.model.live import SeenWorker, WorkerHealth, WorkerStatus
from reconciler.store.database import Row, Transaction

_SELECT = (
    "SELECT worker, state, since, reason, seen_at, address, release, boot, store, incarnation, capabilities"
    " FROM worker_status "  # as _status
)


def see(tx: Transaction, worker: str, seen: SeenWorker) -> None:
    """Record that a worker greeted: it is healthy from its first greeting after a loss on."""
    tx.execute(
        "INSERT INTO worker_status (worker, state, since, reason, seen_at, address, release, boot, store, incarnation,"
        " capabilities) VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (worker) DO UPDATE SET"
        " since = CASE WHEN worker_status.state = excluded.state THEN worker_status.since ELSE excluded.since END,"
        " state = excluded.state, reason = '', seen_at = excluded.seen_at, address = excluded.address,"
        " release = excluded.release, boot = excluded.boot, store = excluded.store,"
        " incarnation = excluded.incarnation, capabilities = excluded.capabilities",
        *(worker, WorkerHealth.HEALTHY.value, seen.at, seen.at, seen.address, seen.release, seen.boot, seen.store),
        *(seen.incarnation, json.dumps(dict(seen.capabilities), sort_keys=True)),
    )


def hear(tx: Transaction, workers: Iterable[str], at: float) -> None:
    """Record that workers were connected at a moment; one that greeted later stays as it is."""
    tx.many(
        "UPDATE worker_status SET seen_at = ? WHERE worker = ? AND seen_at < ?",
        [(at, worker, at) for worker in workers],
    )


def lose(tx: Transaction, worker: str, reason: str, at: float) -> None:
    """Record that a worker cannot be reached and why; since when is kept while only the reason changes."""
    tx.execute(
        "INSERT INTO worker_status (worker, state, since, reason, address, release, boot, store, incarnation,"
        " capabilities) VALUES (?, ?, ?, ?, '', '', '', '', 0, '{}') ON CONFLICT (worker) DO UPDATE SET"
        " since = CASE WHEN worker_status.state = excluded.state THEN worker_status.since ELSE excluded.since END,"
        " state = excluded.state, reason = excluded.reason",
        *(worker, WorkerHealth.UNAVAILABLE.value, at, reason),
    )


def statuses(tx: Transaction) -> dict[str, WorkerStatus]:
    """Return how each worker was last found, by name."""
    return {row[0]: _status(row) for row in tx.all(_SELECT + "ORDER BY worker")}


def statuses_between(tx: Transaction, first: str, last: str) -> dict[str, WorkerStatus]:
    """Return how the workers from one name to another, both included, were last found."""
    rows = tx.all(_SELECT + "WHERE worker >= ? AND worker <= ? ORDER BY worker", first, last)
    return {row[0]: _status(row) for row in rows}


def status(tx: Transaction, worker: str) -> WorkerStatus | None:
    """Return how one worker was last found; None where it never was looked for."""
    row = tx.one(_SELECT + "WHERE worker = ?", worker)
    return _status(row) if row else None


def _status(row: Row) -> WorkerStatus:
    worker, health, since, reason, seen_at, address, release, boot, store, incarnation, capabilities = row
    seen = None
    if seen_at is not None:
        seen = SeenWorker(seen_at, address, release, boot, store, incarnation, json.loads(capabilities))
    return WorkerStatus(worker, WorkerHealth(health), since, reason, seen)
