"""A pure model of apply: what the live state is once a plan has been carried out."""

from collections.abc import Iterator
from dataclasses import replace

from reconciler.model.desired import DesiredState
from reconciler.model.live import Binding, LiveObject, LiveState, Slot, Task, TaskId, TaskState
from reconciler.plan.changes import Action, Change, Plan
from reconciler.plan.present import Present

EMPTY = LiveState({}, {})


def applied(plan: Plan, desired: DesiredState, live: LiveState, *, adopt: bool = False) -> LiveState:
    """Return the live state after every change and run that is not refused."""
    objects = dict(live.objects)
    tasks = dict(live.last_tasks)
    accepted = [change for change in plan.changes if not change.refusal]
    moved = {
        address: replace(objects[address], position=declared.position)
        for address, declared in desired.objects.items()
        if address in objects and objects[address].position != declared.position
        if address not in {change.address for change in accepted}
    }
    objects |= moved
    for change in accepted:
        before = objects.pop(change.former or change.address, None)
        if change.action is not Action.REMOVE:
            objects[change.address] = _written(change, desired, before)
        elif change.address.kind == "Deployment":
            tasks |= _cancelled(change.address.name, tasks)
    queued = list(_queued(plan, desired, live, adopt=adopt))
    return LiveState(
        objects=objects,
        last_tasks=tasks | {task.slot: task for task in queued},
        serial=live.serial + bool(moved) + len(accepted) + len(queued),
        binding=Binding(desired.name, "", ""),
        revision=desired.revision,
    )


def _written(change: Change, desired: DesiredState, before: LiveObject | None) -> LiveObject:
    declared = desired.objects[change.address]
    return LiveObject(
        declared.address,
        declared.spec,
        declared.metadata,
        declared.digest,
        declared.position,
        desired.revision,
        generation=before.generation + 1 if before else 1,
        protected=declared.protect,
    )


def _cancelled(deployment: str, tasks: dict[Slot, Task]) -> dict[Slot, Task]:
    """Return the tasks of a deployment that leaves Git while they are queued, cancelled."""
    return {
        slot: replace(task, state=TaskState.CANCELLED, reason="its deployment was removed from Git")
        for slot, task in tasks.items()
        if task.deployment == deployment and task.state is TaskState.QUEUED
    }


def _queued(plan: Plan, desired: DesiredState, live: LiveState, *, adopt: bool) -> Iterator[Task]:
    accepted = [run for run in plan.runs if not run.refusal]
    first = max((task.id for task in live.last_tasks.values()), default=0) + 1
    present = Present(desired.objects)
    for number, run in enumerate(accepted, first):
        yield Task(
            id=TaskId(number),
            deployment=run.deployment,
            slot=run.slot,
            release=run.release,
            digest=run.digest,
            pin="",
            revision=plan.revision,
            state=TaskState.SUCCEEDED if adopt else TaskState.QUEUED,
            priority=run.priority,
            reason="recorded as done" if adopt else "",
            adopted=adopt,
            process=present.process(run.slot.project),
            variables=present.variables(run.slot),
        )


def settled(live: LiveState, states: dict[TaskId, tuple[TaskState, str]]) -> LiveState:
    """Return the live state once tasks have come to these states; every other queued one has succeeded."""
    tasks = {}
    for slot, task in live.last_tasks.items():
        if task.id in states:
            state, reason = states[task.id]
            tasks[slot] = replace(task, state=state, reason=reason)
        elif task.state is TaskState.QUEUED:
            tasks[slot] = replace(task, state=TaskState.SUCCEEDED)
        else:
            tasks[slot] = task
    return replace(live, last_tasks=tasks)
