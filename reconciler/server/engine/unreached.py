"""Workers that a run needed and that could not be reached at its end: of what was done there the end is not known."""

from collections.abc import Collection, Iterator

from reconciler.model.live import TaskId, WorkerHealth
from reconciler.plan.changes import Action, Change
from reconciler.schedule.fleet import BUILTIN
from reconciler.store import attempts, tasks, worker_status
from reconciler.store.database import Transaction


def leavers(changes: Collection[Change]) -> set[str]:
    """Return the workers that a plan takes out of Git, or replaces by other machines."""
    gone = {Action.REMOVE, Action.REPLACE}
    return {
        change.address.name
        for change in changes
        if change.address.kind == "Worker" and change.action in gone and not change.refusal
    }


def unreached(tx: Transaction, ran: Collection[TaskId], left: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each attempt without an end, of a task that `ran` or on a worker that `left`."""
    for worker, status in worker_status.statuses(tx).items():
        if worker == BUILTIN or status.health is WorkerHealth.HEALTHY:
            continue
        for attempt in attempts.unfinished_on(tx, worker):
            if attempt.task in ran or worker in left:
                step = tasks.step(tx, attempt.task, attempt.step).name
                yield (
                    f"{worker} is {status.health}: {status.reason}; "
                    f'how "{step}" of task {attempt.task} ended there is not known'
                )
