"""A small process for the tests of tasks, attempts and results."""

from reconciler.model.live import Slot, StepRun, Task
from reconciler.store import tasks
from reconciler.store.database import Transaction

SLOT = Slot("shop", "production")


def queued(tx: Transaction, slot: Slot = SLOT, *, digest: str = "d1", at: float = 10.0, adopted: bool = False) -> Task:
    """Queue a task of `slot`."""
    return tasks.queue(
        tx,
        deployment="shop-production",
        slot=slot,
        release="1.10",
        digest=digest,
        pin=tasks.pin(tx, '{"process":[]}'),
        revision="r1",
        at=at,
        adopted=adopted,
    )


def queued_with_steps(tx: Transaction, count: int = 3) -> Task:
    """Queue a task and write its step runs."""
    task = queued(tx)
    tasks.put_steps(tx, [StepRun(task.id, index, f"step-{index}", f"Step {index}") for index in range(count)])
    return task
