"""Rehearse a space: what its declared fleet would make of its deployments, as `rehearse` shows it."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from random import Random

from pydantic import JsonValue
from pydantic_core import PydanticCustomError

from reconciler.model.desired import DesiredState
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import LiveState
from reconciler.model.spec import Address
from reconciler.model.text import Duration
from reconciler.model.work import Step
from reconciler.plan.deployments import Wish, runs, wishes
from reconciler.plan.rehearsal_text import counted
from reconciler.plan.rehearsed import Rehearsed, Report, StepDuration
from reconciler.plan.workload import Durations, Workload, workload
from reconciler.schedule.fleet import Fleet, fleet_of
from reconciler.schedule.lasting import Lasting
from reconciler.schedule.rehearsal import Course, rehearse
from reconciler.schedule.supposed import Resize, enabled, healthy, resized
from reconciler.server.answers.steps import require, steps_declared
from reconciler.store.database import Transaction
from reconciler.store.durations import step_durations
from reconciler.store.objects import live_state
from reconciler.store.reader import open_for_reading

RESIZE = re.compile(r"(?P<pool>.+)=(?P<sign>[+-]?)(?P<count>\d{1,6})")
StepKey = tuple[str, str]
"""A step by its project and its id."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, in the words of the command line; `everything` rehearses every declared deployment."""

    seeds: tuple[int, ...]
    everything: bool
    workers: tuple[str, ...] = ()
    durations: tuple[str, ...] = ()
    default: str = "30s"
    failing: tuple[str, ...] = ()
    ends_at: float | None = None
    """When, on the monotonic clock, nothing more is begun to be played."""


class RehearsalForm(StrEnum):
    """How a rehearsal is shown."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ShownRehearsal:
    """A rehearsal: `text` in words, or `records` where JSON was asked for."""

    form: RehearsalForm
    text: str = ""
    records: tuple[dict[str, JsonValue], ...] = ()


def read_with_durations(data: str) -> tuple[LiveState, Mapping[StepKey, Lasting]]:
    """Read the live state and how long steps took, without writing anything; nothing where there is no state yet.

    Raises StateUnreadable.
    """
    reader = open_for_reading(data)
    if reader is None:
        return LiveState({}, {}), {}
    with reader:
        return reader.read_now(lambda tx: (live_state(tx), durations_recorded(tx)))


def durations_recorded(tx: Transaction) -> Mapping[StepKey, Lasting]:
    """Return how long steps took."""
    return {key: Lasting(found) for key, found in step_durations(tx).items()}


def shown_rehearsal(report: Report, form: RehearsalForm) -> ShownRehearsal:
    """Show a rehearsal."""
    if form is RehearsalForm.TEXT:
        from reconciler.plan.rehearsal_text import render

        return ShownRehearsal(form, render(report))
    from reconciler.plan.rehearsal_records import records

    return ShownRehearsal(form, records=tuple(records(report)))


def rehearsal(desired: DesiredState, live: LiveState, recorded: Mapping[StepKey, Lasting], wanted: Wanted) -> Report:
    """Rehearse a space; raises UsageMistake for a pool, step or time that makes no sense, or for what takes too long."""
    told = {
        key: _lasting(f"--duration {text}", spent)
        for text, step, spent in map(_pair, sorted(wanted.durations, key=lambda text: "/" in text))
        for key in _steps(step, desired)
    }
    failing = {key for step in wanted.failing for key in _steps(step, desired)}
    durations = Durations(told, recorded, _lasting(f"--default-duration {wanted.default}", wanted.default))
    declared = healthy(fleet_of(desired.objects, desired.space, live.workers, live.overrides))
    resizes = tuple(map(_resize, wanted.workers))
    fleet = _changed(declared, resizes)
    chosen = _chosen(desired, live, everything=wanted.everything)
    work = workload(desired, fleet, chosen, failing)
    before = _played(declared, workload(desired, declared, chosen, failing), durations, wanted) if resizes else None
    rehearsed = _played(fleet, work, durations, wanted)
    return Report(
        rehearsed,
        wanted.seeds,
        tuple(_durations_used(rehearsed, durations)),
        wanted.default,
        tuple(resize.words for resize in resizes),
        before,
    )


def _played(fleet: Fleet, work: Workload, durations: Durations, wanted: Wanted) -> Rehearsed:
    courses: list[Course] = []
    for seed in wanted.seeds:
        if wanted.ends_at is not None and time.monotonic() >= wanted.ends_at:
            raise UsageMistake(
                f"of {len(wanted.seeds)} rehearsals {len(courses)} were played in the time that a server has for them",
                "play fewer, or run `reconcile rehearse` in a checkout",
            )
        courses.append(rehearse(fleet, list(work.drawn(durations, Random(seed).random))))  # noqa: S311 - chance, not secrecy
    return Rehearsed(fleet, tuple(courses), work.left_out)


def _chosen(desired: DesiredState, live: LiveState, *, everything: bool) -> list[Wish]:
    """Return every declared deployment, or those that a plan would queue."""
    declared = list(wishes(desired))
    slots = {run.slot for run in runs(declared, live, retry_failed=False)}
    return [wish for wish in declared if everything or wish.slot in slots]


def _durations_used(rehearsed: Rehearsed, durations: Durations) -> Iterator[StepDuration]:
    """Yield how long each step takes that some task ran."""
    steps: dict[StepKey, Step] = {
        (task.task.turn.project, part.step.key): part.step
        for course in rehearsed.courses
        for task in course.tasks
        for part, step in zip(task.task.process.parts, task.steps, strict=True)
        if step.began is not None
    }
    for (project, _), step in sorted(steps.items(), key=itemgetter(0)):
        source, lasting = durations.known(project, step)
        yield StepDuration(project, step.name, source, lasting)


# Words of the command line.


def _resize(text: str) -> Resize:
    found = RESIZE.fullmatch(text)
    if found is None:
        raise UsageMistake(f"--workers {text}: write POOL=+2, POOL=-1 or POOL=3")
    count = int(found["count"])
    return Resize(found["pool"], -count if found["sign"] == "-" else count, is_exact=not found["sign"])


def _changed(fleet: Fleet, resizes: Iterable[Resize]) -> Fleet:
    for resize in resizes:
        if resize.pool not in fleet.pools:
            raise UsageMistake(f"WorkerPool/{resize.pool} is not declared{did_you_mean(resize.pool, fleet.pools)}")
        if fleet.pools[resize.pool].dynamic:
            raise UsageMistake(f"the pool {resize.pool} is dynamic: its workers are not declared")
        present = len(enabled(fleet, resize.pool))
        if present + resize.count < 0:
            raise UsageMistake(
                f"the pool {resize.pool} has {counted(present, 'enabled worker')} and cannot lose {-resize.count}"
            )
        fleet = resized(fleet, resize)
    return fleet


def _pair(text: str) -> tuple[str, str, str]:
    step, sign, spent = text.rpartition("=")
    if not sign or not step:
        raise UsageMistake(f"--duration {text}: write STEP=10s, STEP=5s..20s or PROJECT/STEP=10s")
    return text, step, spent


def _lasting(option: str, text: str) -> Lasting:
    shorter, dots, longer = text.partition("..")
    try:
        least, most = (Duration.check(part).seconds for part in (shorter, longer if dots else shorter))
    except PydanticCustomError as error:
        raise UsageMistake(f"{option}: {error.message()}") from error
    if least > most:
        raise UsageMistake(f"{option}: the shorter time stands first")
    return Lasting((least, most) if least < most else (least,))


def _steps(wanted: str, desired: DesiredState) -> list[StepKey]:
    """Return the steps that `STEP` or `PROJECT/STEP` names, by id or name, in each project that has one."""
    project, slash, name = wanted.rpartition("/")
    if slash:
        require(Address("Project", project), desired)
    return [(owner, step.key) for owner, step in steps_declared(name, project if slash else None, desired)]
