"""What is, in one look: the space, its workers, its declared deployments and what waits for whom."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import JsonValue

from reconciler.model.following import Condition, Proposal, SourceState, Suspension
from reconciler.model.live import Binding, Intervention, LiveState, Slot, StepRun, Task, WorkerHealth, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.plan.deployments import Wish, wishes_of
from reconciler.plan.present import Present
from reconciler.schedule.fleet import BUILTIN, Fleet, Member, fleet_of
from reconciler.server.answers.standing import standing
from reconciler.server.orders.questions import questions_of
from reconciler.server.state.times import stamp
from reconciler.store import following, objects, results, tasks
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker as listings show it; the server's own machine is an ordinary row."""

    name: str
    pools: tuple[str, ...]
    endpoint: str
    state: str


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One live object as listings show it; `metadata` and `spec` are as in YAML, `protected` holds against removal."""

    kind: str
    name: str
    metadata: dict[str, JsonValue]
    spec: dict[str, JsonValue]
    file: str
    line: int
    revision: str
    generation: int
    protected: bool
    digest: str


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot, declared or only remembered (then no release is), and the last task queued for it.

    `current` says whether that task ran what is declared now; `moved` names what it pinned and is another one now, its
    `process` or its `variables`.
    """

    slot: Slot
    deployment: str
    declared_release: str | None
    task: Task | None
    steps: tuple[StepRun, ...] = ()
    moved: tuple[str, ...] = ()
    current: bool = False

    @property
    def condition(self) -> str:
        """Say where the slot stands."""
        if self.task is None:
            return "never ran"
        if self.declared_release is None:
            return f"{self.task.state}, not declared any more"
        if not self.current:
            return f"{self.task.state}, edited since"
        state = "adopted" if self.task.adopted else str(self.task.state)
        return f"{state}, {' and '.join(self.moved)} changed since" if self.moved else state


@dataclass(frozen=True, slots=True)
class QuestionRow(Intervention):
    """A question that waits, the id and name of the step that asks, and until when an answer is heard.

    That is in seconds since the epoch. `alone` says whether it is the only one of its task.
    """

    id: str = ""
    name: str = ""
    until: float | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that `status` shows."""

    binding: Binding | None
    revision: str
    serial: int
    counts: dict[str, int]
    workers: tuple[WorkerRow, ...]
    slots: tuple[SlotRow, ...]
    questions: tuple[QuestionRow, ...]
    source: SourceState | None = None
    conditions: tuple[Condition, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    suspension: Suspension | None = None
    engine_runs: bool = True

    @property
    def as_of(self) -> float | None:
        """When the conditions were looked at last; None where an engine does, or none were ever."""
        return None if self.engine_runs or not self.conditions else known_since(self.conditions, self.source)


def overview(tx: Transaction, *, engine_runs: bool) -> Overview:
    """Read the overview; only while an engine runs is it known whether an agent is connected."""
    live = objects.live_state(tx)
    counts: dict[str, int] = {}
    for address in live.objects:
        counts[address.kind] = counts.get(address.kind, 0) + 1
    return Overview(
        live.binding,
        live.revision,
        live.serial,
        counts,
        tuple(worker_rows(live, engine_runs=engine_runs)),
        tuple(_slot_rows(tx, live)),
        tuple(_question_rows(tx)),
        following.source(tx),
        tuple(following.conditions(tx).values()),
        tuple(following.proposals(tx)),
        following.suspension(tx, time.time()),
        engine_runs,
    )


def known_since(conditions: Iterable[Condition], source: SourceState | None) -> float:
    """Return when a server is known to have had a look last, in seconds since the epoch; 0 for never."""
    looked_at = source.looked_at if source is not None else 0.0
    return max([looked_at, *(condition.since for condition in conditions)])


def worker_rows(live: LiveState, *, engine_runs: bool) -> list[WorkerRow]:
    """List the workers, the built-in one first."""
    fleet = fleet_in(live)
    rows = [builtin_row(fleet, engine_runs=engine_runs), *member_rows(fleet, live, engine_runs=engine_runs)]
    return [*rows, *leaving_rows(live, engine_runs=engine_runs)]


def fleet_in(live: LiveState) -> Fleet:
    """Return the fleet of a live state, under the settings of its space."""
    space = next((found for address, found in live.objects.items() if address.kind == "Space"), None)
    settings = SpaceSpec.parse(space.spec) if space else SpaceSpec()
    return fleet_of(live.objects, settings, live.workers, live.overrides)


def builtin_row(fleet: Fleet, *, engine_runs: bool) -> WorkerRow:
    """Return the row of the server's own machine, whose worker is part of the engine."""
    health = "healthy" if engine_runs else "at rest"
    if not fleet.builtin_enabled:
        state = "disabled by the space"
    elif fleet.runs_builtin(fleet.default_pool):
        state = f"{health}; runs the steps of {fleet.default_pool}"
    else:
        state = f"{health}; idle, since {fleet.default_pool} has workers"
    return WorkerRow(BUILTIN, (fleet.default_pool,), "built-in", state)


def member_rows(fleet: Fleet, live: LiveState, *, engine_runs: bool) -> Iterator[WorkerRow]:
    """List the workers that are declared, by name."""
    for name, member in sorted(fleet.workers.items()):
        state = "" if member.state == "enabled" else f", {state_of(member, live)}"
        health = _health(member.status, engine_runs=engine_runs)
        yield WorkerRow(name, member.pools, member.endpoint, f"{health}{state}")


def object_rows(live: LiveState, kind: str | None = None) -> list[ObjectRow]:
    """List the live objects of a kind, or all, in the order of their addresses."""
    return [
        ObjectRow(
            *found.address,
            json.loads(found.metadata),
            json.loads(found.spec),
            found.position.file,
            found.position.line,
            found.revision,
            found.generation,
            found.protected,
            found.digest,
        )
        for address, found in live.objects.items()
        if kind in {None, address.kind}
    ]


def leaving_rows(live: LiveState, *, engine_runs: bool) -> Iterator[WorkerRow]:
    """List the workers that left Git while something still lives on them."""
    for name, spec in live.leaving.items():
        if Address("Worker", name) not in live.objects:
            left = json.loads(spec)
            health = _health(live.workers.get(name), engine_runs=engine_runs)
            state = f"{health}, left Git, {drain_in_words(name, live)}"
            yield WorkerRow(name, tuple(left["pools"]), next(iter(left["endpoint"])), state)


def state_of(member: Member, live: LiveState) -> str:
    """Say whether a worker that is not enabled still drains, what is left there, and by whose order."""
    order = f" {member.override.words}" if member.override is not None else ""
    return f"{member.state if member.state != 'draining' else drain_in_words(member.name, live)}{order}"


def drain_in_words(worker: str, live: LiveState) -> str:
    """Say where the drain of a worker is: what is left there, since when nothing is, since when it is stalled."""
    drain, left = live.drains.get(worker), len(live.occupants.get(worker, ()))
    if not left:
        return f"drained since {stamp(drain.drained_at)}" if drain is not None and drain.drained_at else "drained"
    stalled = f", stalled since {stamp(drain.overdue_at)}" if drain is not None and drain.overdue_at else ""
    return f"draining ({left} attempt{'s' if left > 1 else ''} left{stalled})"


def _health(status: WorkerStatus | None, *, engine_runs: bool) -> str:
    if status is None:
        return "unknown"
    if status.health is WorkerHealth.HEALTHY and not engine_runs:
        return "unknown, no engine runs"
    return f"{status.health}: {status.reason}" if status.reason else status.health.value


def _question_rows(tx: Transaction) -> Iterator[QuestionRow]:
    """Yield the open questions of all tasks, the oldest first."""
    asked = results.open_interventions(tx)
    known = {number: questions_of(tx, tasks.task(tx, number)) for number in {one.task for one in asked}}
    for one in asked:
        found = next(question for question in known[one.task] if question.asked == one)
        yield QuestionRow(
            *(one.task, one.step, one.instructions, one.teams, one.asked_at),
            id=found.run.key,
            name=found.run.name,
            until=found.until,
            alone=found.alone,
        )


def _slot_rows(tx: Transaction, live: LiveState) -> list[SlotRow]:
    rows = []
    declared: dict[Slot, Wish] = {}
    places, present = standing(tx), Present(live.objects)
    for address, found in live.objects.items():
        if address.kind == "Deployment":
            declared |= {wish.slot: wish for wish in wishes_of(address.name, found)}
    for slot in sorted({*declared, *live.last_tasks}, key=str):
        wish, task = declared.get(slot), live.last_tasks.get(slot)
        name = wish.deployment if wish else task.deployment if task else ""
        steps: tuple[StepRun, ...] = ()
        if task is not None and not task.state.ended:
            task = replace(task, reason=places.task(task))
            steps = tuple(replace(run, reason=places.step(run)) for run in tasks.steps(tx, task.id))
        moved = present.moved(task) if task is not None else ()
        current = bool(task is not None and wish is not None and task.digest == wish.digest)
        release = wish.spec.release if wish else None
        rows.append(SlotRow(slot, name, release, task, steps, moved=moved, current=current))
    return rows
