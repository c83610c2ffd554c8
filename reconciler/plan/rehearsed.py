"""What was rehearsed: a workload on a fleet, once for each seed, and the same without what was changed of the fleet."""

from dataclasses import dataclass
from statistics import median

from reconciler.model.live import TaskState
from reconciler.plan.workload import LeftOut
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.lasting import Lasting
from reconciler.schedule.rehearsal import Course


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The courses of a workload on one fleet, by seed."""

    fleet: Fleet
    courses: tuple[Course, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def makespan(self) -> float:
        """The median of the seconds until everything had ended."""
        return median(course.makespan for course in self.courses)

    @property
    def tasks(self) -> int:
        """How many tasks each rehearsal has."""
        return len(self.courses[0].tasks)

    @property
    def attempts(self) -> int:
        """How many steps ran on a worker, in the first rehearsal."""
        return sum(bool(step.worker) for task in self.courses[0].tasks for step in task.steps)

    @property
    def ended(self) -> int:
        """How many tasks came to an end, in the first rehearsal."""
        return sum(task.ended is not None for task in self.courses[0].tasks)

    @property
    def unsuccessful(self) -> tuple[LeftOut, ...]:
        """The tasks that did not end or failed in the first rehearsal, and why."""
        return tuple(
            LeftOut(course.task.title, course.reason)
            for course in self.courses[0].tasks
            if course.state is not TaskState.SUCCEEDED
        )


@dataclass(frozen=True, slots=True)
class StepDuration:
    """How long a step of a project takes, and where that comes from: "told", "recorded", "default" or "atOnce"."""

    project: str
    step: str
    source: str
    lasting: Lasting


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a rehearsal tells; `changes` are the words of what was changed of the fleet, `before` is without it."""

    rehearsed: Rehearsed
    seeds: tuple[int, ...]
    durations: tuple[StepDuration, ...]
    default: str
    """The words of the default duration."""
    changes: tuple[str, ...] = ()
    before: Rehearsed | None = None
