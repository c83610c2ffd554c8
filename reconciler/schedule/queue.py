"""What queued tasks wait for, and which of them can go on by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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


def circles_told(waiting: Mapping[TaskId, Waits]) -> dict[TaskId, Waits]:
    """Return the waits, those that go round in a circle with the circle named and without hope."""
    told = dict(waiting)
    for task, waits in waiting.items():
        circle = _circle_from(task, waiting)
        if circle:
            names = ", ".join(str(number) for number in circle)
            found = f"tasks {names} wait for each other in a circle: cancel one of them"
            if len(circle) == 1:
                found = "it waits for itself: cancel it"
            told[task] = replace(waits, reason=f"{waits.reason}; {found}", hopeless=True)
    return told


def _circle_from(task: TaskId, waiting: Mapping[TaskId, Waits]) -> tuple[TaskId, ...]:
    """Return the tasks that wait for each other from `task` back to it, the lowest number first; empty if none do."""
    met: list[TaskId] = []
    at: TaskId | None = task
    while at is not None and at not in met:
        met.append(at)
        at = waiting[at].on if at in waiting else None
    if at != task:
        return ()
    first = met.index(min(met))
    return (*met[first:], *met[:first])


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
