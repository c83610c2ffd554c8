"""What is told of running tasks to whoever watches them: a terminal, a log, a test."""

from dataclasses import dataclass, field
from typing import Protocol

from reconciler.model.live import Attempt, Slot, StepRun, StepState, Task, TaskId, TaskState
from reconciler.protocol.journal import Record


@dataclass(frozen=True, slots=True)
class TaskMoved:
    """A task came into a state; `asks` are the ids of the steps that wait for an answer."""

    task: TaskId
    deployment: str
    slot: Slot
    release: str
    state: TaskState
    reason: str = ""
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepMoved:
    """A step came into a state, by its attempt `ticket` where one is behind it; `seconds` is how long it took in the end."""

    task: TaskId
    deployment: str
    index: int
    name: str
    state: StepState
    worker: str = ""
    reason: str = ""
    seconds: float | None = None
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Printed:
    """A step printed something."""

    task: TaskId
    deployment: str
    index: int
    name: str
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class Breached:
    """A worker's agent did what no honest one does, so many `times` since that was told last."""

    worker: str
    kind: str
    times: int
    reason: str


Sighting = TaskMoved | StepMoved | Printed | Breached


def task_moved(task: Task, state: TaskState, reason: str, asks: tuple[str, ...] = ()) -> TaskMoved:
    """Return the sighting of a task that came into a state."""
    return TaskMoved(task.id, task.deployment, task.slot, task.release, state, reason, asks)


def step_moved(task: Task, run: StepRun, attempt: Attempt | None) -> StepMoved:
    """Return the sighting of a step that came into its present state, by an attempt or by itself."""
    worker, ticket = (attempt.worker, attempt.ticket) if attempt is not None else ("", "")
    took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
    return StepMoved(task.id, task.title, run.index, run.name, run.state, worker, run.reason, took, ticket)


class Watcher(Protocol):
    """Is told of everything in the order in which it was recorded; must be quick."""

    @property
    def reads_output(self) -> bool:
        """Say whether it wants what steps print, which has to be read from their logs for it."""

    def see(self, sighting: Sighting) -> None:
        """Take one sighting."""


class Unwatched:
    """Looks away."""

    reads_output = False

    def see(self, sighting: Sighting) -> None:
        """Take one sighting and do nothing."""
