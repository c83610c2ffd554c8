"""Decisions in words: why a request waits and what keeps each machine from it, why a grant went where it went."""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.schedule.fleet import Fleet
from reconciler.schedule.holdings import Holdings, Resource
from reconciler.schedule.machines import Machine, View
from reconciler.schedule.placement import Nowhere, candidates
from reconciler.schedule.requests import Claim, Grant, Needs, Request

RIVALS_MAX = 8
"""Machines of which a decision says why it was not them: a pool may have thousands."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a request is not granted; it is `busy` where somebody could run it and has no room just now."""

    reason: str
    busy: bool = False
    final: bool = False
    """Only a change of the declarations mends it."""
    on: int | None = None
    """The task that holds what is waited for."""
    obstacles: tuple[tuple[str, str], ...] = ()
    """Of each machine that belongs to what is needed: why not there."""


LOST = ", which was given up and may still run; where it cannot, `reconcile why task/{task}` says how that is freed"
"""Said of who holds something alone, is lost, and ends for nobody."""


def wait_of(request: Request, view: View | None, held: Holdings, fleet: Fleet) -> Wait:
    """Say why a request that was looked at is not granted."""
    found = candidates(request.needs, fleet) if request.needs is not None else ()
    if isinstance(found, Nowhere):
        return Wait(found.reason, final=found.final)
    obstacles = tuple((one.name, _obstacle(held.machines[one.name], request)) for one in found)
    if view is not None and not view.fit:
        return Wait(_nobody(request.needs, "can take it", obstacles), obstacles=obstacles)
    for claim in request.claims:
        resource = held.resource(claim.resource)
        if not resource.admits(claim):
            holder = held.holds.get(resource.alone) if resource.alone is not None else None
            lost = LOST.format(task=holder.request.task) if holder is not None and holder.lost else ""
            on = holder.request.task if holder is not None else None
            return Wait(f"{_occupied(claim, resource)}{lost}", busy=True, on=on, obstacles=obstacles)
    if view is None or (_is_wanted(request, held) and any(_accepts(one, request) for one in view.fit.values())):
        return Wait("one that is before it waits for the same", busy=True, obstacles=obstacles)
    able = [item for item in obstacles if item[0] in view.fit]
    return Wait(_nobody(request.needs, "has room for it", able), busy=True, obstacles=obstacles)


def who(name: str) -> str:
    """Say in words which task, or which step of it, a request is of."""
    _, task, *step = name.partition("#")[0].split("/", 2)
    return f"{step[0]} of task {task}" if step else f"task {task}"


def because_of(grant: Grant, round_robin: bool) -> str:
    """Say why a grant went to its machine."""
    request, name = grant.request, grant.machine
    if request.spread:
        return f"{name} is where the fewest of its step run by {request.spread}, of {grant.open} that have room"
    if grant.kept:
        return f"task {request.task} leases {name} already"
    if grant.open == 1:
        return f"{name} alone has room for it"
    if round_robin:
        return f"{name} was leased longest ago of {grant.open} that have room"
    return (
        f"{name} has {grant.leases} lease{'' if grant.leases == 1 else 's'}, the fewest of {grant.open} that have room"
    )


def rivals(grant: Grant, held: Holdings, fleet: Fleet, limit: int = RIVALS_MAX) -> tuple[tuple[str, str], ...]:
    """Say of the other machines that belonged to what was needed why it was not them; of a large pool the first few."""
    needs = grant.request.needs
    found = candidates(needs, fleet) if needs is not None else ()
    others = [] if isinstance(found, Nowhere) else [member for member in found if member.name != grant.machine]
    return tuple((member.name, _why_not(held.machines[member.name], grant)) for member in others[:limit])


def _is_wanted(request: Request, held: Holdings) -> bool:
    """Say whether anybody else waits to have something alone that a request claims, and could run somewhere."""
    return any(
        sum(line.is_able for line in held.resource(claim.resource).wanted) > claim.alone for claim in request.claims
    )


def _accepts(machine: Machine, request: Request) -> bool:
    """Say whether nothing that runs on a machine that fits is in the way."""
    if not machine.roomy or (request.exclusive and not machine.is_idle):
        return False
    return not any(lock in machine.locks for lock in request.machine_claims)


def _why_not(machine: Machine, grant: Grant) -> str:
    """Say what is in the way on a machine, or that another one came before it."""
    request = grant.request
    if machine.member.unfit(request.needs or Needs()) or not _accepts(machine, request):
        return _obstacle(machine, request)
    return f"has {machine.leases} lease{'' if machine.leases == 1 else 's'}"


def _nobody(needs: Needs | None, what: str, obstacles: Sequence[tuple[str, str]]) -> str:
    (name, obstacle), *others = obstacles
    more = f" (and {len(others)} more)" if others else ""
    if needs is not None and needs.machine:
        return f"{name} {obstacle}"
    return f"no worker of the pool {needs.pool if needs else ''} {what}: {name} {obstacle}{more}"


def _obstacle(machine: Machine, request: Request) -> str:
    """Say what on a machine is in the way."""
    assert request.needs is not None, "who needs no machine meets no obstacle on one"
    if unfit := machine.member.unfit(request.needs):
        return unfit
    if machine.alone is not None:
        return f"runs {who(machine.alone)} alone"
    if busy := machine.member.busy(machine.running):
        return busy
    if request.exclusive and machine.running:
        return f"runs {_counted(machine.running)}, and it would run alone"
    if request.exclusive and machine.lost:
        return "may still run what was given up, and it would run alone"
    for lock in request.machine_claims:
        if lock in machine.locks:
            return f"has {called(lock)} held by {who(machine.locks[lock])}"
    return "is kept for one before it that would run alone"


def _occupied(claim: Claim, resource: Resource) -> str:
    if resource.alone is not None:
        return f"{called(claim.resource)} is held by {who(resource.alone)}"
    if resource.capacity is None or resource.used < resource.capacity:
        return f"{called(claim.resource)} is in use by {resource.used}"
    kind = claim.resource.partition("/")[0]
    if kind == "tasks":
        return (
            f"{resource.used} tasks run already, as many as may"
            if resource.used != 1
            else "one task runs already, as many as may"
        )
    if kind == "task":
        return f"as many of its invocations run as may, {resource.capacity}"
    return f"{called(claim.resource)} runs as many attempts as it may, {resource.capacity}"


def called(resource: str) -> str:
    """Say in words which resource a claim is on."""
    kind, _, name = resource.partition("/")
    return f"the {_KINDS.get(kind, kind)} {name}"


def _counted(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"


_KINDS = {"tag": "concurrency tag"}
