"""What rehearsals come to in figures: how long tasks and steps waited, and how far pools and workers were used.

Figures of several rehearsals are those of all of them together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.schedule.fleet import BUILTIN, Fleet
from reconciler.schedule.lasting import quantile
from reconciler.schedule.rehearsal import Course
from reconciler.schedule.supposed import enabled


@dataclass(frozen=True, slots=True)
class Waits:
    """How many waited, and how long in seconds: at most `p50` half of them, at most `p95` nineteen of twenty."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """How far a pool or a worker was used; `slots` and `share` are None where nothing bounds its attempts."""

    name: str
    slots: int | None
    attempts: int
    seconds: float
    """Seconds of all its attempts together."""
    share: float | None
    """Of all the time that its slots had."""
    workers: int = 1
    peak: int = 0
    """The most attempts at a time; counted of pools."""


def waits(seconds: Iterable[float | None]) -> Waits:
    """Sum up waits; None is left out."""
    ordered = sorted(value for value in seconds if value is not None)
    if not ordered:
        return Waits()
    return Waits(len(ordered), quantile(ordered, 0.5), quantile(ordered, 0.95), ordered[-1])


def task_waits(courses: Sequence[Course], project: str | None = None) -> Waits:
    """Sum up how long tasks waited for their turn: those of a project, or all."""
    return waits(
        task.waited for course in courses for task in course.tasks if project in {None, task.task.turn.project}
    )


def step_waits(courses: Sequence[Course], project: str | None = None) -> Waits:
    """Sum up how long steps waited for a worker: those of a project, or all."""
    return waits(
        step.waited
        for course in courses
        for task in course.tasks
        if project in {None, task.task.turn.project}
        for step in task.steps
    )


def projects(courses: Sequence[Course]) -> list[str]:
    """Return the projects that have tasks, by name."""
    return sorted({task.task.turn.project for course in courses for task in course.tasks})


def pools(fleet: Fleet, courses: Sequence[Course]) -> Iterator[Usage]:
    """Yield the usage of each pool that has enabled workers or ran something, by name."""
    attempts: dict[str, list[float]] = defaultdict(list)
    for pool, _, seconds in _attempts(courses):
        attempts[pool].append(seconds)
    time = sum(course.makespan for course in courses)
    for pool in sorted(fleet.pools):
        members = [fleet.builtin] if fleet.runs_builtin(pool) else enabled(fleet, pool)
        ran = attempts[pool]
        if not ran and (not members or fleet.runs_builtin(pool)):
            continue
        slots = _sum(member.slots for member in members)
        peak = max((course.peaks.get(pool, 0) for course in courses), default=0)
        yield Usage(pool, slots, len(ran), sum(ran), _share(sum(ran), slots, time), len(members), peak)


def workers(fleet: Fleet, courses: Sequence[Course]) -> Iterator[Usage]:
    """Yield the usage of each enabled worker, by name; the built-in one comes last, if it ran something."""
    attempts: dict[str, list[float]] = defaultdict(list)
    for _, worker, seconds in _attempts(courses):
        attempts[worker].append(seconds)
    time = sum(course.makespan for course in courses)
    for name, member in sorted(fleet.workers.items()):
        if member.state == "enabled" and member.pools:
            yield _usage(name, member.slots, attempts, time)
    if attempts[BUILTIN]:
        yield _usage(BUILTIN, None, attempts, time)


def _usage(name: str, slots: int | None, attempts: Mapping[str, list[float]], time: float) -> Usage:
    ran = attempts.get(name, [])
    return Usage(name, slots, len(ran), sum(ran), _share(sum(ran), slots, time))


def _attempts(courses: Sequence[Course]) -> Iterator[tuple[str, str, float]]:
    """Yield pool, worker and seconds of each attempt."""
    for course in courses:
        for task in course.tasks:
            for part, step, seconds in zip(task.task.process.parts, task.steps, task.task.seconds, strict=True):
                if step.worker and part.request is not None and part.request.needs is not None:
                    yield part.request.needs.pool, step.worker, seconds


def _sum(slots: Iterable[int | None]) -> int | None:
    found = list(slots)
    return None if None in found else sum(count for count in found if count is not None)


def _share(seconds: float, slots: int | None, time: float) -> float | None:
    return None if slots is None else seconds / (slots * time) if slots and time else 0.0
