"""What queued tasks wait for, and which of them can go on by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.live import Task, TaskId, TaskState

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
