"""A rehearsal as a chart of text: when each task was queued, began and ended, and each step of it on which worker."""

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.model.live import StepState
from reconciler.schedule.lasting import in_words
from reconciler.schedule.rehearsal import Course, StepCourse, TaskCourse

WIDTH = 100
"""Columns of the whole chart."""

NAME_MAX, WORKER_MAX = 28, 20
"""Columns of a name before it is cut."""

A_PERSON = "a person"
WAITS, WORKS, RUNS = "·", "─", "█"
"""What fills the chart: waiting, a task at work, a step on a worker."""


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    worker: str
    queued: float | None
    began: float | None
    ended: float | None
    fill: str
    words: str = ""


def timeline(course: Course) -> Iterator[str]:
    """Yield the lines of the chart."""
    rows = [row for task in course.tasks for row in _rows(task)]
    names = _width([row.name for row in rows], "TASK", NAME_MAX)
    workers = _width([row.worker for row in rows], "WORKER", WORKER_MAX)
    times = [
        max(len(heading), *(len(_moment(getattr(row, heading.lower()))) for row in rows))
        for heading in ("QUEUED", "BEGAN", "ENDED")
    ]
    chart = WIDTH - names - workers - sum(times) - 10
    total = in_words(course.makespan)
    scale = f"0s{total:>{chart - 2}}"
    yield _line(("TASK", "WORKER", "QUEUED", "BEGAN", "ENDED"), (names, workers, *times), scale)
    for row in rows:
        cells = row.name, row.worker, *(_moment(moment) for moment in (row.queued, row.began, row.ended))
        yield _line(cells, (names, workers, *times), row.words[:chart] or _bar(row, course.makespan, chart))


def _rows(course: TaskCourse) -> Iterator[_Row]:
    words = "" if course.began is not None else f"waits: {course.reason}"
    yield _Row(course.task.title, "", course.ready, course.began, course.ended, WORKS, words)
    for run, step in zip(course.runs, course.steps, strict=True):
        words = f"skipped: {run.reason}" if run.state is StepState.SKIPPED else ""
        if words or step.began is not None or step.asked is not None:
            fill = RUNS if step.worker else WORKS
            yield _Row(f"  {run.name}", _who(step), _first(step), step.began, step.ended, fill, words)


def _who(step: StepCourse) -> str:
    return step.worker if step.worker or step.began is None else A_PERSON


def _first(step: StepCourse) -> float | None:
    return step.asked if step.asked is not None else step.began


def _bar(row: _Row, makespan: float, width: int) -> str:
    """Draw waiting and running; whatever ran at all takes one column at least."""
    if row.queued is None:
        return ""
    scale = width / makespan if makespan else 0.0
    until = row.ended if row.ended is not None else makespan
    queued = min(int(row.queued * scale), width - 1)
    if row.began is None:
        return " " * queued + WAITS * (int(until * scale) - queued)
    began = min(int(row.began * scale), width - 1)
    return " " * queued + WAITS * (began - queued) + row.fill * max(1, int(until * scale) - began)


def _moment(moment: float | None) -> str:
    return "–" if moment is None else in_words(moment)


def _width(texts: list[str], heading: str, most: int) -> int:
    return min(most, max(len(heading), *map(len, texts)))


def _line(cells: tuple[str, ...], widths: tuple[int, ...], chart: str) -> str:
    left = "  ".join(_cut(cell, width).ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"{left}  {chart}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
