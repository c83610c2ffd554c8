"""The workers that tasks lease: a preference of later steps, counted, and ended with the task."""

from dataclasses import dataclass

from reconciler.model.live import TaskId
from reconciler.store.counters import next_number
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class WorkerLease:
    """A task's lease on a worker under a key; `grants` were made under it, leases are numbered in their order."""

    task: TaskId
    key: str
    worker: str
    grants: int
    number: int


def lease(tx: Transaction, task: TaskId, key: str, worker: str) -> None:
    """Count a grant under a lease; the first one makes it."""
    changed = tx.execute(
        "UPDATE worker_leases SET grants = grants + 1 WHERE task = ? AND lease_key = ? AND worker = ?",
        task,
        key,
        worker,
    )
    if not changed:
        tx.execute(
            "INSERT INTO worker_leases (task, lease_key, worker, grants, number) VALUES (?, ?, ?, 1, ?)",
            *(task, key, worker, next_number(tx, "worker lease")),
        )


def end(tx: Transaction, task: TaskId) -> None:
    """End the leases of a task."""
    tx.execute("DELETE FROM worker_leases WHERE task = ?", task)


def leases(tx: Transaction) -> list[WorkerLease]:
    """Return every lease, the oldest first."""
    rows = tx.all("SELECT task, lease_key, worker, grants, number FROM worker_leases ORDER BY number")
    return [WorkerLease(TaskId(task), *rest) for task, *rest in rows]
