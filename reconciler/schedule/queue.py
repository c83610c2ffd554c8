"""Which queued tasks start now, and why each other one waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.live import Slot, Task, TaskId, TaskState

TASKS_MAX = 5
"""Tasks that run at a time on one server node."""

QUEUED_MAX = 86_400.0
"""Seconds that a task may be queued; then it has timed out."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a task cannot start; `on` is the task it waits for, `hopeless` says that nothing will end the wait by itself."""

    reason: str
    on: TaskId | None = None
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class QueueDecision:
    """The tasks that start, in order, and the reason of each one that does not."""

    start: tuple[TaskId, ...]
    waiting: Mapping[TaskId, Waits]


def decide(
    queued: Sequence[Task],
    running: Sequence[Task],
    conditions: Mapping[TaskId, Waits],
    tags: Mapping[TaskId, str],
    *,
    tasks_max: int = TASKS_MAX,
) -> QueueDecision:
    """Choose by priority, then by the order of queueing; a task that cannot start is skipped.

    `conditions` holds what tasks wait for beside their place in the queue; `tags` the concurrency tag of tasks whose
    project declares one. Two tasks with one tag, or of one slot, never run at once. A task that waits for a person
    leaves its place among the running to another.
    """
    start: list[TaskId] = []
    waiting: dict[TaskId, Waits] = {}
    active = sum(task.state is not TaskState.AWAITING_INTERVENTION for task in running)
    busy = {_tag(task.id, task.slot, tags): task for task in running}
    for task in sorted(queued, key=lambda task: (-task.priority, task.id)):
        tag = _tag(task.id, task.slot, tags)
        if task.id in conditions:
            waiting[task.id] = conditions[task.id]
        elif tag in busy:
            waiting[task.id] = Waits(f"task {busy[tag].id} of {busy[tag].slot} has not ended", on=busy[tag].id)
        elif active + len(start) >= tasks_max:
            waiting[task.id] = Waits(f"{tasks_max} tasks run already, as many as may")
        else:
            start.append(task.id)
            busy[tag] = task
    return QueueDecision(tuple(start), waiting)


def _tag(task: TaskId, slot: Slot, tags: Mapping[TaskId, str]) -> str:
    return tags.get(task) or f"{slot.project}/{slot.environment}/{slot.tenant or ''}"


def moves(task: Task, unfinished: Mapping[TaskId, Task], waiting: Mapping[TaskId, Waits], *, people: bool) -> bool:
    """Can the task go on by itself? `people` says whether persons who are asked count as an answer."""
    seen: set[TaskId] = set()
    while task.state is TaskState.QUEUED:
        if task.id in seen:
            return False  # tasks of different commits may wait for each other, round in a circle
        seen.add(task.id)
        waits = waiting.get(task.id)
        if waits is None or (waits.on is None and not waits.hopeless):
            return True
        if waits.on is None or waits.on not in unfinished:
            return not waits.hopeless
        task = unfinished[waits.on]
    return people or task.state is not TaskState.AWAITING_INTERVENTION
