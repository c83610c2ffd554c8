"""A rehearsal as records for programs: everything that happened, in order, and the figures of it. Times are in seconds."""

from collections.abc import Iterator
from operator import itemgetter

from pydantic import JsonValue

from reconciler.plan.rehearsal_text import what_if
from reconciler.plan.rehearsed import Rehearsed, Report
from reconciler.schedule import usage
from reconciler.schedule.rehearsal import Course, TaskCourse
from reconciler.schedule.usage import Usage, Waits

Record = dict[str, JsonValue]
DIGITS = 6  # after the point: microseconds


def records(report: Report) -> Iterator[Record]:
    """Yield what came of it, then each rehearsal's events, then waits and usage."""
    rehearsed = report.rehearsed
    yield _summary("rehearsal", rehearsed, report.seeds)
    if report.before is not None:
        yield _summary("asDeclared", report.before, report.seeds)
        yield {
            "type": "whatIf",
            "changes": list(report.changes),
            "message": what_if(rehearsed, report.before, report.changes),
        }
    for item in rehearsed.left_out:
        yield {"type": "leftOut", "task": item.title, "reason": item.reason}
    for item in rehearsed.unsuccessful:
        yield {"type": "notDone", "task": item.title, "reason": item.reason}
    for duration in report.durations:
        seconds = duration.lasting.seconds
        yield {
            "type": "duration",
            "project": duration.project,
            "step": duration.step,
            "source": duration.source,
            "least": _rounded(seconds[0]),
            "p50": _rounded(duration.lasting.at(0.5)),
            "most": _rounded(seconds[-1]),
        }
    for seed, course in zip(report.seeds, rehearsed.courses, strict=True):
        for event in _events(course):
            yield {"type": "event", "seed": seed, **event}
    for project in usage.projects(rehearsed.courses):
        tasks, steps = usage.task_waits(rehearsed.courses, project), usage.step_waits(rehearsed.courses, project)
        yield {"type": "wait", "project": project, "tasks": _waits(tasks), "steps": _waits(steps)}
    for pool in usage.pools(rehearsed.fleet, rehearsed.courses):
        yield {"type": "pool", **_usage(pool), "workers": pool.workers, "peak": pool.peak}
    for worker in usage.workers(rehearsed.fleet, rehearsed.courses):
        yield {"type": "worker", **_usage(worker)}


def _summary(kind: str, rehearsed: Rehearsed, seeds: tuple[int, ...]) -> Record:
    return {
        "type": kind,
        "seeds": list(seeds),
        "tasks": rehearsed.tasks,
        "steps": rehearsed.attempts,
        "makespans": [_rounded(course.makespan) for course in rehearsed.courses],
        "taskWaits": _waits(usage.task_waits(rehearsed.courses)),
        "stepWaits": _waits(usage.step_waits(rehearsed.courses)),
    }


def _events(course: Course) -> list[Record]:
    """Return everything that happened in the order of time; what happens at one moment, in the order of the tasks."""
    found = [event for task in course.tasks for event in _events_of(task)]
    return [{"at": _rounded(at), **event} for at, event in sorted(found, key=itemgetter(0))]


def _events_of(course: TaskCourse) -> Iterator[tuple[float, Record]]:
    task = course.task.title
    for at, what in ((course.ready, "queued"), (course.began, "began")):
        if at is not None:
            yield at, {"what": what, "task": task}
    for run, step in zip(course.runs, course.steps, strict=True):
        for at, what in ((step.asked, "waiting"), (step.began, "running"), (step.ended, str(run.state))):
            if at is not None:
                worker = {"worker": step.worker} if step.worker and what != "waiting" else {}
                yield at, {"what": what, "task": task, "step": run.name, **worker}
    if course.ended is not None:
        yield course.ended, {"what": str(course.state), "task": task}


def _waits(waits: Waits) -> Record:
    return {
        "count": waits.count,
        "p50": _rounded(waits.p50),
        "p95": _rounded(waits.p95),
        "max": _rounded(waits.longest),
    }


def _usage(found: Usage) -> Record:
    return {
        "name": found.name,
        "slots": found.slots,
        "steps": found.attempts,
        "seconds": _rounded(found.seconds),
        "share": None if found.share is None else _rounded(found.share),
    }


def _rounded(value: float) -> float:
    return round(value, DIGITS)
