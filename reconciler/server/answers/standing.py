"""The places of tasks and steps in the queue, as far as the state tells: the engine alone knows whose turn it is."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.execute.endings import TRIED
from reconciler.execute.grounds import fleet_in
from reconciler.execute.pinned_pools import PinnedPools
from reconciler.execute.queue_facts import QueueFacts, queue_facts
from reconciler.execute.searches import AWAITED
from reconciler.execute.turns import turn_of
from reconciler.model.live import StepRun, StepState, Task, TaskId
from reconciler.schedule.asking import TASKS, attempt_request, step_request
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.placement import PoolChoice, location_of
from reconciler.schedule.requests import Request, RequestId
from reconciler.schedule.standing import in_order, places
from reconciler.steps.templates import is_template
from reconciler.store import attempts, claims, tasks
from reconciler.store.database import Transaction

WAITING_MAX = 500
"""Unfinished tasks beyond which nobody's place is told: who looks is not to wait for it."""

TASKS_REMEMBERED = 200
"""Of the newest tasks it is looked whose turns there were."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The places of queued tasks and of waiting steps, in words; of one that waits alone there is none."""

    tasks: Mapping[TaskId, str] = field(default_factory=dict)
    steps: Mapping[tuple[TaskId, int], str] = field(default_factory=dict)

    def task(self, task: Task) -> str:
        """Return why a task is as it is, with its place."""
        return _with(task.reason, self.tasks.get(task.id))

    def step(self, run: StepRun) -> str:
        """Return why a step is as it is, with its place."""
        return _with(run.reason, self.steps.get((run.task, run.index)))


def standing(tx: Transaction) -> Standing:
    """Read the places."""
    unfinished = tasks.unfinished(tx)
    if not 2 <= len(unfinished) <= WAITING_MAX:
        return Standing()
    now, facts = time.time(), queue_facts(tx)
    held = {claim.resource for found in claims.held(tx).values() for claim in found if claim.alone}
    recent = tasks.tasks(tx, TASKS_REMEMBERED)
    return Standing(_of_tasks(facts, recent, held, now), _of_steps(tx, facts, recent, held, now))


def _of_tasks(facts: QueueFacts, recent: Iterable[Task], held: set[str], now: float) -> dict[TaskId, str]:
    tags, conditions = facts.tags(), facts.conditions(now)
    asking = [turn_of(task, tags) for task in facts.queued if task.id not in conditions]
    begun = sorted((task.started_at, task.id, turn_of(task, {})) for task in recent if task.started_at is not None)
    found = _told(asking, [(turn, at) for at, _, turn in begun], held, TASKS, now)
    return {TaskId(request.task): found[request.id] for request in asking if request.id in found}


def _of_steps(
    tx: Transaction, facts: QueueFacts, recent: Iterable[Task], held: set[str], now: float
) -> dict[tuple[TaskId, int], str]:
    waiting = [(task, run) for task in facts.running for run in tasks.steps(tx, task.id)]
    waiting = [(task, run) for task, run in waiting if run.state is StepState.WAITING and not _waits_elsewhere(run)]
    if len(waiting) < 2:
        return {}
    fleet = fleet_in(tx)
    asked = {(task.id, run.index): _request(task, run, facts, fleet) for task, run in waiting}
    requests = {key: request for key, request in asked.items() if request is not None}
    found = _told(requests.values(), list(_granted(tx, recent)), held, "", now)
    return {key: found[request.id] for key, request in requests.items() if request.id in found}


def _waits_elsewhere(run: StepRun) -> bool:
    """Say whether a step waits for a secret or its next attempt, and has not asked for a place."""
    return run.reason.startswith((AWAITED, TRIED))


def _request(task: Task, run: StepRun, facts: QueueFacts, fleet: Fleet) -> Request | None:
    """Return what a step asks for; None where that is known to its task alone."""
    pinned = facts.pins[task.id]
    step = pinned.project.process[run.index]
    choice = PinnedPools(task, pinned).choice(step, fleet)
    if not isinstance(choice, PoolChoice) or (step.mutex is not None and is_template(step.mutex.name)):
        return None
    asked = step_request(step, location_of(step, pinned.locations), choice, task.slot, priority=task.priority)
    return attempt_request(asked, task.id, step.key, 1, run.since or task.queued_at)


def _granted(tx: Transaction, recent: Iterable[Task]) -> Iterator[tuple[Request, float]]:
    found = [
        (attempt.granted_at, attempt.ticket, turn_of(task, {}))
        for task in recent
        if task.started_at is not None
        for attempt in attempts.attempts(tx, task.id)
    ]
    for at, _, turn in sorted(found, key=lambda each: each[:2]):
        yield turn, at


def _told(
    waiting: Iterable[Request], granted: Iterable[tuple[Request, float]], held: set[str], else_for: str, now: float
) -> dict[RequestId, str]:
    """Say the places of those that wait: each for the first of its locks that is held, or for what all wait for."""
    order = in_order(waiting, granted, now)
    things = {}
    for request in order:
        locks = (claim.resource for claim in request.claims if claim.alone and claim.resource in held)
        pool = f"pool/{request.needs.pool}" if request.needs is not None else ""
        things[request.id] = next(locks, else_for or pool)
    return places(order, things)


def _with(reason: str, place: str | None) -> str:
    return "; ".join(filter(None, (reason, place)))
