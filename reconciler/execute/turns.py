"""The queue of tasks: which of them begin now, and why each other one waits."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.execute.leasing import Leasing
from reconciler.model.live import Task, TaskId
from reconciler.schedule.asking import turn_request
from reconciler.schedule.explain import Wait
from reconciler.schedule.queue import Waits, circles_told
from reconciler.schedule.requests import Request


@dataclass(frozen=True, slots=True)
class Turns:
    """The tasks whose turn it is, in order, and the reason of each one that waits."""

    begin: tuple[Task, ...]
    waiting: Mapping[TaskId, Waits]


def turn_of(task: Task, tags: Mapping[TaskId, str]) -> Request:
    """Return what a task asks for; `tags` holds the concurrency tags that projects declare."""
    return turn_request(task.id, task.slot, tags.get(task.id), priority=task.priority, since=task.queued_at)


def take_turns(
    leasing: Leasing,
    queued: Sequence[Task],
    running: Iterable[Task],
    conditions: Mapping[TaskId, Waits],
    tags: Mapping[TaskId, str],
    *,
    wake: asyncio.Event,
) -> Turns:
    """Let every queued task ask that waits for nothing else, and take the turns that were granted.

    `conditions` holds what tasks wait for beside their place in the queue; `wake` is set when there are more turns.
    """
    for task in queued:
        if task.id in conditions:
            leasing.drop(turn_of(task, tags).id)
    asking = [task for task in queued if task.id not in conditions]
    known = {task.id: task for task in (*queued, *running)}
    found = leasing.take([turn_of(task, tags) for task in asking], wake)
    granted = sorted(found.granted, key=lambda grant: found.granted[grant])
    waiting = {**conditions, **{TaskId(task): _waits(wait, known) for task, wait in found.waiting.items()}}
    return Turns(tuple(known[TaskId(name)] for name in granted), circles_told(waiting))


def _waits(wait: Wait, known: Mapping[TaskId, Task]) -> Waits:
    """Say which task is waited for, where it is one."""
    holder = known.get(TaskId(wait.on)) if wait.on is not None else None
    if holder is None:
        return Waits(wait.reason)
    return Waits(f"task {holder.id} of {holder.slot} has not ended", on=holder.id)
