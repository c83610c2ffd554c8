"""What tasks and their steps ask for: the claims that follow from what is declared."""

from dataclasses import replace

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Slot
from reconciler.model.work import Step
from reconciler.schedule.placement import PoolChoice, needs_of
from reconciler.schedule.requests import Claim, Request, RequestId

TASKS = "tasks"
"""The resource of which each running task claims a share."""


def turn_request(number: int, slot: Slot, concurrency_tag: str | None, *, priority: int, since: float) -> Request:
    """Return what a queued task asks for: one of the places of running tasks, and its concurrency tag alone.

    `since` is in seconds, on the clock of the scheduler that is asked.
    """
    tag = concurrency_tag or f"{slot.project}/{slot.environment}/{slot.tenant or ''}"
    claims = Claim(f"tag/{tag}", alone=True), Claim(TASKS)
    return Request(RequestId(f"task/{number}"), slot.project, since, number, claims=claims, priority=priority)


def resumed(turn: RequestId) -> RequestId:
    """Name the request of a task that goes on."""
    return RequestId(f"{turn}/resumed")


def resumption(turn: Request, now: float) -> Request:
    """Return what a task asks for that waited for a person: a place among those that run, before all that are queued."""
    return Request(RequestId(f"{turn.id}/resumed"), turn.project, now, turn.task, claims=(Claim(TASKS),), top_since=now)


def step_request(
    step: Step,
    location: ExecutionLocationSpec,
    choice: PoolChoice,
    slot: Slot,
    *,
    priority: int,
    mutex: str | None = None,
) -> Request:
    """Return what a step of any task of `slot` asks for once its pool is known; the task puts in itself and the time.

    `mutex` is the name of its mutex rendered; without it the name is taken as it is written.
    """
    pool = choice.pool
    claims, machine_claims = [Claim(f"pool/{pool}")], []
    if step.mutex is not None:
        name = mutex if mutex is not None else step.mutex.name
        match step.mutex.scope:
            case "machine":
                machine_claims.append(f"mutex/{name}")
            case "pool":
                claims.append(Claim(f"mutex/{name} of {pool}", alone=True))
            case "space":
                claims.append(Claim(f"mutex/{name}", alone=True))
    return Request(
        RequestId(""),
        slot.project,
        0.0,
        needs=needs_of(step, pool, slot.environment, location.requires.items()),
        claims=tuple(sorted(claims)),
        machine_claims=tuple(machine_claims),
        exclusive=step.isolation == "exclusive",
        lease_key=_lease_key(step, pool, location),
        lease_cap=location.lease_cap,
        spread=step.spread or "",
        priority=priority,
    )


def attempt_request(request: Request, task: int, key: str, number: int, since: float) -> Request:
    """Return the request of a step as one of attempt `number` of its task."""
    return replace(request, id=RequestId(f"task/{task}/{key}#{number}"), task=task, since=since)


def _lease_key(step: Step, pool: str, location: ExecutionLocationSpec) -> str:
    """Return under which key a step leases: its pool, and what it shares a worker with others for.

    That is its first package, the whole task, or nothing but itself.
    """
    match location.affinity:
        case "task":
            return f"{pool}/task"
        case "none":
            return f"{pool}/step/{step.key}"
        case _:
            return f"{pool}/package/{_first_package(step, location)}"


def _first_package(step: Step, location: ExecutionLocationSpec) -> str:
    """Return the id of what a step acquires first, whatever its version; an image is acquired like a package, and last."""
    if step.packages:
        return step.packages[0].id
    if location.container is None:
        return ""
    image = location.container.image.partition("@")[0]
    name, colon, tag = image.rpartition(":")
    return image if not colon or "/" in tag else name  # a colon before the last slash is that of a port
