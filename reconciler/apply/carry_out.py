"""Carry out a plan: changes with their outcomes, some hundred to a transaction; then the runs are queued."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path

from reconciler.apply.pinning import ReadFile, pin_of, scripts_of
from reconciler.apply.places import follow, moved
from reconciler.model.desired import DesiredState
from reconciler.model.live import ActorKind, Binding, Event, LiveObject, Slot, Task, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address, canonical_json
from reconciler.plan.changes import Action, Change, Plan, Run
from reconciler.plan.present import Present
from reconciler.store import attempts, audit, leases, leaving, objects, overrides, pinned_files, plans, tasks
from reconciler.store.database import Transaction
from reconciler.store.known_objects import Written
from reconciler.store.writer import Store

APPLY_LEASE = "apply"
"""Names the lease that one apply at a time holds."""

TOGETHER_MAX = 500
"""Changes in one transaction: enough to share its cost, few enough to stop soon."""

Progress = Callable[[Change | Run, str], None]
"""Is told each change and run with its outcome."""


@dataclass(frozen=True, slots=True)
class Authority:
    """In whose name, from where and under which fence a plan is carried out."""

    actor: str
    token: int
    binding: Binding
    adopt: bool = False
    kind: ActorKind = ActorKind.PERSON
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan."""

    changes: int
    tasks: tuple[TaskId, ...]
    risen: int
    """By how much the serial has risen."""


async def carry_out(
    plan: Plan,
    desired: DesiredState,
    live: Mapping[Address, LiveObject],
    store: Store,
    authority: Authority,
    *,
    root: Path,
    read: ReadFile,
    blobs: Path,
    progress: Progress,
) -> Applied:
    """Write every change of `plan` that is not refused, in order, and queue its runs; `live` is what it was made by.

    Killed anywhere, what was written stands and is in the audit; the next plan shows the rest. What is adopted is
    recorded first and all at once, so that no later apply takes half of it for never deployed. Raises Conflict when the
    apply lease was lost, StateUnreadable when the store takes nothing more.
    """
    digest = plan.digest  # here, for the writer has better things to do
    telling = _Telling(plan, digest, authority)
    await store.write(lambda tx: _bind(tx, telling))
    runs, present = [run for run in plan.runs if not run.refusal], Present(desired.objects)
    works = [
        _queueing(
            run,
            pinned,
            present,
            telling,
            scripts=scripts_of(pinned, blobs) if store.is_shared else {},
        )
        for run in runs
        for pinned in (pin_of(run, desired, root, read, blobs),)
    ]
    queued = _noted(store, await store.write(lambda tx: [work(tx) for work in works])) if authority.adopt else []
    accepted = [change for change in plan.changes if not change.refusal]
    places = moved(desired.objects, live, {change.address for change in accepted})
    risen = await follow(store, places, lambda tx: leases.check(tx, APPLY_LEASE, authority.token))
    for batch in _batches(accepted):
        store.known.note(await store.write(_work_of(batch, desired, telling)))
        for change in batch:
            progress(change, "done")
    queued = queued or _noted(store, [await store.write(work) for work in works])
    for run in runs:
        progress(run, "adopted" if authority.adopt else "queued")
    await store.write(lambda tx: _finish(tx, telling))
    return Applied(len(accepted), tuple(task.id for task in queued), risen + len(accepted) + len(queued))


def _noted(store: Store, queued: Iterable[tuple[Task, Written]]) -> list[Task]:
    """Note how the serial has risen with each task that was queued, and return the tasks."""
    tasks_queued = []
    for task, written in queued:
        store.known.note(written)
        tasks_queued.append(task)
    return tasks_queued


def _batches(changes: list[Change]) -> Iterator[list[Change]]:
    waiting = iter(changes)
    while batch := list(islice(waiting, TOGETHER_MAX)):
        yield batch


def _bind(tx: Transaction, telling: "_Telling") -> None:
    """Bind the state to the space; told where it was bound to another one, or to none."""
    before, after = objects.binding(tx), telling.authority.binding
    objects.bind(tx, after)
    if before != after:
        was = canonical_json(asdict(before)) if before else ""
        audit.record(tx, telling.event("bind", f"space/{after.space}", before=was, after=canonical_json(asdict(after))))


def _work_of(changes: Sequence[Change], desired: DesiredState, telling: "_Telling") -> Callable[[Transaction], Written]:
    touched = frozenset(each for change in changes for each in (change.address, change.former) if each is not None)

    def work(tx: Transaction) -> Written:
        leases.check(tx, APPLY_LEASE, telling.authority.token)
        leaving.forget_gone(tx)
        events: list[Event] = []
        for is_new, some in groupby(changes, key=lambda change: change.action is Action.CREATE):
            if is_new:
                made = [(change, _declared(change, telling.plan, desired, generation=1)) for change in some]
                objects.put_many(tx, [after for _, after in made])
                events += [telling.change(change, None, after) for change, after in made]
            else:
                events += [telling.change(change, *_write(tx, change, desired, telling)) for change in some]
        overrides.settle(tx, time.time())
        serial = objects.next_serial(tx, len(changes))
        audit.record_all(tx, events)
        return Written(serial - len(changes), serial, touched)

    return work


def _write(
    tx: Transaction, change: Change, desired: DesiredState, telling: "_Telling"
) -> tuple[LiveObject | None, LiveObject | None]:
    """Write a change of what was there, and return the object as it was and as it is."""
    before = objects.one(tx, change.former or change.address)
    if change.action is Action.REMOVE:
        if change.address.kind == "Deployment":
            _cancel_queued(tx, change.address, telling)
        _let_go(tx, before)
        objects.remove(tx, change.address)
        return before, None
    if change.former is not None:
        _let_go(tx, before)
        objects.rename(tx, change.former, change.address)
        if change.address.kind == "Worker":
            overrides.rename(tx, change.former.name, change.address.name)
    elif change.action is Action.REPLACE:
        _let_go(tx, before)
    after = _declared(change, telling.plan, desired, generation=before.generation + 1 if before else 1)
    objects.put(tx, after)
    return before, after


def _let_go(tx: Transaction, before: LiveObject | None) -> None:
    """Keep the way to a worker that leaves while attempts live on it."""
    if before is not None and before.address.kind == "Worker":
        leaving.keep(tx, before.address.name, before.spec)


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


def _cancel_queued(tx: Transaction, address: Address, telling: "_Telling") -> None:
    """Cancel what is queued of a deployment that leaves Git; what runs goes on, the slot's record stays."""
    for task in tasks.unfinished(tx):
        if task.deployment == address.name and task.state is TaskState.QUEUED:
            reason = "its deployment was removed from Git"
            tasks.set_state(tx, task.id, TaskState.CANCELLED, reason, time.time())
            audit.record(tx, telling.event("cancel", f"task/{task.id}", reason))


def _queueing(
    run: Run, pinned: Pinned, present: Present, telling: "_Telling", *, scripts: Mapping[str, bytes]
) -> Callable[[Transaction], tuple[Task, Written]]:
    adopt = telling.authority.adopt
    process, variables = present.process(run.slot.project), present.variables(run.slot)

    def work(tx: Transaction) -> tuple[Task, Written]:
        leases.check(tx, APPLY_LEASE, telling.authority.token)
        for digest, content in scripts.items():
            pinned_files.keep(tx, digest, content)
        now = time.time()
        if pinned.deployment.supersede == "queued":
            _supersede(tx, run.slot, telling, now)
        task = tasks.queue(
            tx,
            deployment=run.deployment,
            slot=run.slot,
            release=run.release,
            digest=run.digest,
            pin=tasks.pin(tx, pinned.canonical()),
            process=process,
            variables=variables,
            revision=telling.plan.revision,
            at=now,
            priority=run.priority,
            reason="recorded as done" if adopt else "",
            adopted=adopt,
        )
        serial = objects.next_serial(tx)
        after = canonical_json({"deployment": run.deployment, "release": run.release, "state": task.state.value})
        audit.record(tx, telling.event("adopt" if adopt else "queue", f"task/{task.id}", run.title, after=after))
        return task, Written(serial - 1, serial, frozenset())

    return work


def _supersede(tx: Transaction, slot: Slot, telling: "_Telling", now: float) -> None:
    """Take back what only waits: in the queue, or for a person's answer while nothing of it runs."""
    last = tasks.last_task(tx, slot)
    if last is not None and last.state is TaskState.QUEUED:
        reason = "superseded before it started: the deployment was edited"
        tasks.set_state(tx, last.id, TaskState.CANCELLED, reason, now)
        audit.record(tx, telling.event("supersede", f"task/{last.id}", reason))
    elif last is not None and last.state is TaskState.AWAITING_INTERVENTION and not attempts.live(tx, last.id):
        reason = "superseded while it waited for a person: the deployment was edited"
        tasks.request_cancel(tx, last.id, telling.authority.actor)
        audit.record(tx, telling.event("supersede", f"task/{last.id}", reason))


def _finish(tx: Transaction, telling: "_Telling") -> None:
    leases.check(tx, APPLY_LEASE, telling.authority.token)
    now, plan = time.time(), telling.plan
    before = canonical_json({"revision": objects.last_revision(tx)})
    objects.record_revision(tx, plan.revision, now)
    plans.mark_applied(tx, f"{plan.serial}:{telling.digest}", plan.revision, now)
    after = canonical_json({"revision": plan.revision})
    audit.record(tx, telling.event("apply", f"space/{plan.space}", telling.digest, before=before, after=after))


@dataclass(frozen=True, slots=True)
class _Telling:
    """What the audit is told while a plan is carried out."""

    plan: Plan
    digest: str
    authority: Authority

    def event(self, action: str, subject: str, detail: str = "", *, before: str = "", after: str = "") -> Event:
        """Return one event of this plan."""
        return Event(
            *(time.time(), self.authority.actor, action, subject, "done", self.plan.revision, detail),
            kind=self.authority.kind,
            origin=self.authority.origin,
            plan=self.digest,
            before=before,
            after=after,
        )

    def change(self, change: Change, before: LiveObject | None, after: LiveObject | None) -> Event:
        """Return the event of a change of one object, with the object as it was and as it is."""
        fields = ", ".join(field.path for field in change.fields)
        detail = fields if change.action is Action.UPDATE else change.because
        return self.event(
            *(change.action.value, str(change.address), detail), before=_content(before), after=_content(after)
        )


def _content(found: LiveObject | None) -> str:
    """Return what an object says, as canonical JSON: both parts are that already."""
    if found is None:
        return ""
    return f'{{"metadata":{found.metadata},"spec":{found.spec}}}'
