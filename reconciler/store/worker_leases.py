"""The workers that tasks lease: a preference of later steps, counted, and ended with the task."""

from collections import Counter
from collections.abc import Sequence
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


def lease(tx: Transaction, granted: Sequence[tuple[TaskId, str, str]]) -> None:
    """Count grants, each by task, key and worker, under their leases; the first of a lease makes it."""
    counts = Counter(granted)
    last = next_number(tx, "worker lease", len(counts)) if counts else 0
    tx.batch(
        "INSERT INTO worker_leases (task, lease_key, worker, grants, number) SELECT * FROM {rows} WHERE true"
        " ON CONFLICT (task, lease_key, worker) DO UPDATE SET grants = worker_leases.grants + excluded.grants",
        ("integer", "text", "text", "integer", "integer"),
        [(*lease, count, last - len(counts) + place) for place, (lease, count) in enumerate(counts.items(), start=1)],
    )


def end(tx: Transaction, task: TaskId) -> None:
    """End the leases of a task."""
    tx.execute("DELETE FROM worker_leases WHERE task = ?", task)


def leases(tx: Transaction) -> list[WorkerLease]:
    """Return every lease, the oldest first."""
    rows = tx.all("SELECT task, lease_key, worker, grants, number FROM worker_leases ORDER BY number")
    return [WorkerLease(TaskId(task), *rest) for task, *rest in rows]
