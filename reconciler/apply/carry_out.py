"""Carry out a plan: changes with their outcomes, some hundred to a transaction; then the runs are queued."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from reconciler.apply.pinning import ReadFile, pin_of
from reconciler.model.desired import DesiredState
from reconciler.model.live import Binding, Event, LiveObject, Slot, Task, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address
from reconciler.plan.changes import Action, Change, Plan, Run
from reconciler.plan.processes import process_digest
from reconciler.store import audit, leases, leaving, objects, overrides, plans, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store

APPLY_LEASE = "apply"
"""Names the lease that one apply at a time holds."""

TOGETHER_MAX = 500
"""Changes in one transaction: enough to share its cost, few enough to stop soon."""

Progress = Callable[[Change | Run, str], None]
"""Is told each change and run with its outcome."""


@dataclass(frozen=True, slots=True)
class Authority:
    """In whose name and under which fence a plan is carried out."""

    actor: str
    token: int
    binding: Binding
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan."""

    changes: int
    tasks: tuple[TaskId, ...]


async def carry_out(
    plan: Plan,
    desired: DesiredState,
    store: Store,
    authority: Authority,
    *,
    root: Path,
    read: ReadFile,
    blobs: Path,
    progress: Progress,
) -> Applied:
    """Write every change of `plan` that is not refused, in order, and queue its runs.

    Killed anywhere, what was written stands and is in the audit; the next plan shows the rest. What is adopted is
    recorded first and all at once, so that no later apply takes half of it for never deployed. Raises Conflict when the
    apply lease was lost, StateUnreadable when the store takes nothing more.
    """
    await store.write(lambda tx: objects.bind(tx, authority.binding))
    runs = [run for run in plan.runs if not run.refusal]
    works = [
        _queueing(
            run,
            pin_of(run, desired, root, read, blobs),
            process_digest(desired.objects, run.slot.project),
            plan,
            authority,
        )
        for run in runs
    ]
    queued = await store.write(lambda tx: [work(tx) for work in works]) if authority.adopt else []
    accepted = [change for change in plan.changes if not change.refusal]
    for batch in _batches(accepted):
        await store.write(_work_of(batch, plan, desired, authority))
        for change in batch:
            progress(change, "done")
    queued = queued or [await store.write(work) for work in works]
    for run in runs:
        progress(run, "adopted" if authority.adopt else "queued")
    digest = plan.digest  # here, for the writer has better things to do
    await store.write(lambda tx: _finish(tx, plan, digest, authority))
    return Applied(len(accepted), tuple(task.id for task in queued))


def _batches(changes: list[Change]) -> Iterator[list[Change]]:
    waiting = iter(changes)
    while batch := list(islice(waiting, TOGETHER_MAX)):
        yield batch


def _work_of(
    changes: Sequence[Change], plan: Plan, desired: DesiredState, authority: Authority
) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        leases.check(tx, APPLY_LEASE, authority.token)
        leaving.forget_gone(tx)
        for is_new, some in groupby(changes, key=lambda change: change.action is Action.CREATE):
            if is_new:
                objects.put_many(tx, [_declared(change, plan, desired, generation=1) for change in some])
            else:
                for change in some:
                    _write(tx, change, plan, desired, authority)
        overrides.settle(tx, time.time())
        objects.next_serial(tx, len(changes))
        audit.record_all(tx, [_told(change, plan, authority) for change in changes])

    return work


def _write(tx: Transaction, change: Change, plan: Plan, desired: DesiredState, authority: Authority) -> None:
    if change.action is Action.REMOVE:
        if change.address.kind == "Deployment":
            _cancel_queued(tx, change.address, authority, plan)
        _let_go(tx, change.address)
        objects.remove(tx, change.address)
        return
    if change.former is not None:
        _let_go(tx, change.former)
        objects.rename(tx, change.former, change.address)
        if change.address.kind == "Worker":
            overrides.rename(tx, change.former.name, change.address.name)
    elif change.action is Action.REPLACE:
        _let_go(tx, change.address)
    before = objects.one(tx, change.address)
    objects.put(tx, _declared(change, plan, desired, generation=before.generation + 1 if before else 1))


def _let_go(tx: Transaction, address: Address) -> None:
    """Keep the way to a worker that leaves while attempts live on it."""
    before = objects.one(tx, address) if address.kind == "Worker" else None
    if before is not None:
        leaving.keep(tx, address.name, before.spec)


def _declared(change: Change, plan: Plan, desired: DesiredState, *, generation: int) -> LiveObject:
    declared = desired.objects[change.address]
    return LiveObject(
        declared.address,
        declared.spec,
        declared.metadata,
        declared.digest,
        declared.position,
        plan.revision,
        generation=generation,
        protected=declared.protect,
    )


def _told(change: Change, plan: Plan, authority: Authority) -> Event:
    detail = ", ".join(field.path for field in change.fields) if change.action is Action.UPDATE else change.because
    return _event(authority, change.action.value, str(change.address), plan, detail)


def _cancel_queued(tx: Transaction, address: Address, authority: Authority, plan: Plan) -> None:
    """Cancel what is queued of a deployment that leaves Git; what runs goes on, the slot's record stays."""
    for task in tasks.unfinished(tx):
        if task.deployment == address.name and task.state is TaskState.QUEUED:
            reason = "its deployment was removed from Git"
            tasks.set_state(tx, task.id, TaskState.CANCELLED, reason, time.time())
            audit.record(tx, _event(authority, "cancel", f"task/{task.id}", plan, reason))


def _queueing(
    run: Run, pinned: Pinned, process: str, plan: Plan, authority: Authority
) -> Callable[[Transaction], Task]:
    def work(tx: Transaction) -> Task:
        leases.check(tx, APPLY_LEASE, authority.token)
        now = time.time()
        if pinned.deployment.supersede == "queued":
            _supersede(tx, run.slot, plan, authority, now)
        task = tasks.queue(
            tx,
            deployment=run.deployment,
            slot=run.slot,
            release=run.release,
            digest=run.digest,
            pin=tasks.pin(tx, pinned.canonical()),
            process=process,
            revision=plan.revision,
            at=now,
            priority=run.priority,
            reason="recorded as done" if authority.adopt else "",
            adopted=authority.adopt,
        )
        objects.next_serial(tx)
        audit.record(tx, _event(authority, "adopt" if authority.adopt else "queue", f"task/{task.id}", plan, run.title))
        return task

    return work


def _supersede(tx: Transaction, slot: Slot, plan: Plan, authority: Authority, now: float) -> None:
    last = tasks.last_task(tx, slot)
    if last is not None and last.state is TaskState.QUEUED:
        reason = "superseded before it started: the deployment was edited"
        tasks.set_state(tx, last.id, TaskState.CANCELLED, reason, now)
        audit.record(tx, _event(authority, "supersede", f"task/{last.id}", plan, reason))


def _finish(tx: Transaction, plan: Plan, digest: str, authority: Authority) -> None:
    leases.check(tx, APPLY_LEASE, authority.token)
    now = time.time()
    objects.record_revision(tx, plan.revision, now)
    plans.mark_applied(tx, f"{plan.serial}:{digest}", plan.revision, now)
    audit.record(tx, _event(authority, "apply", f"space/{plan.space}", plan, digest))


def _event(authority: Authority, action: str, subject: str, plan: Plan, detail: str) -> Event:
    return Event(time.time(), authority.actor, action, subject, "done", plan.revision, detail)
