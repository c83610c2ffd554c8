"""A rehearsal in words: what came of it, the timeline, who waited how long, how far pools were used, and what if."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from reconciler.plan.rehearsed import Rehearsed, Report
from reconciler.plan.timeline import WIDTH, timeline
from reconciler.schedule import usage
from reconciler.schedule.lasting import in_words
from reconciler.schedule.usage import Waits

TASKS_SHOWN = 40
"""Tasks in a timeline; with more it says how to see them."""

NAMED_MAX = 10
"""Tasks that are named of those that were left out, or did not succeed."""


def render(report: Report) -> str:
    """Return everything as lines of at most 100 columns, but for sentences."""
    rehearsed = report.rehearsed
    parts = [list(_headline(report))]
    if rehearsed.tasks:
        parts += [list(_timeline(rehearsed)), list(_waiting(rehearsed)), list(_pools(rehearsed))]
    if report.before is not None:
        parts.append(list(_what_if(rehearsed, report.before, report.changes)))
    return "\n".join("".join(f"{line}\n" for line in part) for part in parts if part)


def _headline(report: Report) -> Iterator[str]:
    rehearsed, seeds = report.rehearsed, report.seeds
    if not rehearsed.tasks and rehearsed.left_out:
        yield "Rehearsal of nothing: every deployment is left out."
    elif not rehearsed.tasks:
        yield "Rehearsal of nothing: no declared deployment would run; see them all with: --tasks all"
    else:
        what = f"{counted(rehearsed.tasks, 'task')} with {counted(rehearsed.attempts, 'step')}"
        ends = sorted(course.makespan for course in rehearsed.courses)
        if len(seeds) == 1:
            yield f"Rehearsal of {what}, seed {seeds[0]}: {_ended(rehearsed)} after {in_words(ends[0])}."
        else:
            yield (
                f"{len(seeds)} rehearsals of {what}, seeds {seeds[0]} to {seeds[-1]}: {_ended(rehearsed)} after "
                f"{in_words(rehearsed.makespan)} (median; {in_words(ends[0])} to {in_words(ends[-1])})."
            )
        yield _durations(report)
    yield from _named("Left out", ((item.title, item.reason) for item in rehearsed.left_out))
    yield from _named("Not done", ((item.title, item.reason) for item in rehearsed.unsuccessful))


def _ended(rehearsed: Rehearsed) -> str:
    if rehearsed.ended == rehearsed.tasks:
        return "everything has ended"
    return f"{rehearsed.ended} of {counted(rehearsed.tasks, 'task')} have ended"


def _durations(report: Report) -> str:
    counts = Counter(duration.source for duration in report.durations)
    found = [
        f"{counted(counts[source], 'step')} {words}"
        for source, words in (
            ("told", "as told"),
            ("recorded", "as recorded"),
            ("default", f"by default ({report.default})"),
            ("atOnce", "answered at once"),
        )
        if counts[source]
    ]
    return f"Durations: {', '.join(found) or 'no step runs'}."


def _named(word: str, items: Iterable[tuple[str, str]]) -> Iterator[str]:
    found = list(items)
    for title, reason in found[:NAMED_MAX]:
        yield f"{word}: {title}: {reason}"
    if len(found) > NAMED_MAX:
        yield f"{word}: {counted(len(found) - NAMED_MAX, 'task')} more; see them with: --format json"


def _timeline(rehearsed: Rehearsed) -> Iterator[str]:
    if rehearsed.tasks > TASKS_SHOWN:
        yield f"The timeline of more than {TASKS_SHOWN} tasks is not drawn; see it with: --format json"
    else:
        yield from timeline(rehearsed.courses[0])


def _waiting(rehearsed: Rehearsed) -> Iterator[str]:
    courses = rehearsed.courses
    rows = [("WAITING", "TASKS", "P50", "P95", "MAX", "STEPS", "P50", "P95", "MAX")]
    for project in usage.projects(courses):
        tasks, steps = usage.task_waits(courses, project), usage.step_waits(courses, project)
        rows.append((_cut(project), *_cells(tasks), *_cells(steps)))
    yield from table(rows)


def _cells(waits: Waits) -> tuple[str, str, str, str]:
    return str(waits.count), in_words(waits.p50), in_words(waits.p95), in_words(waits.longest)


def _pools(rehearsed: Rehearsed) -> Iterator[str]:
    rows = [("POOL", "WORKERS", "SLOTS", "STEPS", "PEAK", "USED")]
    for pool in usage.pools(rehearsed.fleet, rehearsed.courses):
        slots = "no bound" if pool.slots is None else str(pool.slots)
        used = "–" if pool.share is None else f"{pool.share:.0%}"
        rows.append((_cut(pool.name), str(pool.workers), slots, str(pool.attempts), str(pool.peak), used))
    yield from table(rows)


def _what_if(after: Rehearsed, before: Rehearsed, changes: tuple[str, ...]) -> Iterator[str]:
    yield what_if(after, before, changes)
    old, new = (usage.step_waits(one.courses) for one in (before, after))
    old_tasks, new_tasks = (usage.task_waits(one.courses) for one in (before, after))
    yield ""
    yield from table(
        [
            ("WHAT IF", "AS DECLARED", "CHANGED"),
            ("tasks that can run", str(before.tasks), str(after.tasks)),
            ("everything has ended after", in_words(before.makespan), in_words(after.makespan)),
            ("tasks wait, p95", in_words(old_tasks.p95), in_words(new_tasks.p95)),
            ("steps wait, p50", in_words(old.p50), in_words(new.p50)),
            ("steps wait, p95", in_words(old.p95), in_words(new.p95)),
            ("steps wait, max", in_words(old.longest), in_words(new.longest)),
        ]
    )


def what_if(after: Rehearsed, before: Rehearsed, changes: tuple[str, ...]) -> str:
    """Say in a sentence what the change of the fleet comes to."""
    change = " and ".join(changes)
    if after.tasks != before.tasks:
        return f"With {change}, {counted(after.tasks, 'task')} can run instead of {before.tasks:,}."
    new, old = after.makespan, before.makespan
    if in_words(new) == in_words(old):
        return f"With {change}, everything has ended after {in_words(new)}, as without."
    share = abs(new - old) / old
    sooner = "sooner" if new < old else "later"
    return (
        f"With {change}, everything has ended after {in_words(new)} instead of {in_words(old)}: {share:.0%} {sooner}."
    )


def counted(count: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows with their columns aligned, the first one to the left and figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *others in rows:
        figures = "  ".join(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield f"{first.ljust(widths[0])}  {figures}"


def _cut(name: str) -> str:
    most = WIDTH // 3
    return name if len(name) <= most else f"{name[: most - 1]}…"
