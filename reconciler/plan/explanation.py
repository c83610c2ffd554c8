"""Where a step would run and why, worker by worker, before anything runs: what each lacks, and what the step would claim."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.model.desired import DesiredState
from reconciler.model.live import Override, Slot, WorkerStatus
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.plan.stored import STEP_FIELDS
from reconciler.plan.whereabouts import Whereabouts
from reconciler.protocol.tickets import Limits
from reconciler.schedule.asking import step_request, turn_request
from reconciler.schedule.explain import called
from reconciler.schedule.fleet import Fleet, Member, Obstacle, Pool
from reconciler.schedule.limits import limits_of, smaller
from reconciler.schedule.placement import Nowhere, candidates
from reconciler.schedule.requests import Needs, Request
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext

MANUAL = "it asks a person and runs on no worker"
"""Where a manual step runs."""


@dataclass(frozen=True, slots=True)
class Load:
    """What lives on a worker: attempts, and leases, of which the last one has the number `leased_at`; 0 is never."""

    attempts: int = 0
    leases: int = 0
    leased_at: int = 0


@dataclass(frozen=True, slots=True)
class Prospect:
    """One worker of the pool: what is in the way of the step there, all of it, and how it would be kept."""

    name: str
    obstacles: tuple[Obstacle, ...]
    load: Load
    isolation: str
    run_as: str
    limits: Limits

    @property
    def able(self) -> bool:
        """Can it take the step as it is now?"""
        return not self.obstacles

    @property
    def obstacle(self) -> str:
        """What is in the way, the first thing first; empty where nothing is."""
        return "; ".join(item.what for item in self.obstacles)

    def rank(self, pool: Pool) -> tuple[bool, int, int, str]:
        """Say where it stands: those that can take it as they are chosen, the others behind them by name."""
        if not self.able:
            return True, 0, 0, self.name
        return False, 0 if pool.round_robin else self.load.leases, self.load.leased_at, self.name

    @property
    def kept(self) -> str:
        """How a script of the step is kept there."""
        account = f" under the account {self.run_as}" if self.run_as else ""
        return ", ".join((f"isolation {self.isolation}{account}", *_most(self.limits)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of where a step would run; of what does not apply nothing is said."""

    step: str
    position: str
    slot: Slot
    left_out: str = ""
    """Why a task of the slot does not run it."""
    nowhere: str = ""
    """Why it runs on no worker at all, whichever there are."""
    pool: str = ""
    because: str = ""
    builtin: str = ""
    """Whether the built-in worker comes in, and why or why not."""
    workers: tuple[Prospect, ...] = ()
    """In the order in which they would be chosen; behind them those that cannot take it."""
    spread: str = ""
    """The label over whose values it is spread."""
    claims: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    """What of its declaration is not carried out yet."""

    @property
    def changes(self) -> tuple[str, ...]:
        """Say what would have to be so that it runs on those workers which lack one thing alone."""
        also = " too" if any(prospect.able for prospect in self.workers) else ""
        return tuple(
            f"it would run on {prospect.name}{also} if {prospect.obstacles[0].mended}"
            for prospect in self.workers
            if len(prospect.obstacles) == 1
        )

    def sentences(self) -> Iterator[str]:
        """Yield all of it as lines for people."""
        yield f'"{self.step}" of {self.slot} is declared at {self.position}'
        if self.left_out:
            yield f"no task of {self.slot} runs it: it {self.left_out}"
        if self.pool:
            yield f"its pool is {self.pool}: {self.because}"
            yield self.builtin
        if self.nowhere:
            yield self.nowhere
        if self.workers:
            yield from self._of_workers()
        if self.claims:
            yield "before a try of it runs, it claims at once"
            yield from (f"  {claim}" for claim in self.claims)
        yield from (f"of this, {words}" for words in self.stored)
        yield from self.changes

    def _of_workers(self) -> Iterator[str]:
        able = [prospect for prospect in self.workers if prospect.able]
        if able:
            yield f"{_counted(len(able), 'worker')} can take it{', chosen in this order' if len(able) > 1 else ''}"
            for number, prospect in enumerate(able, 1):
                yield f"  {number}. {prospect.name}, with {_loaded(prospect.load)}: {prospect.kept}"
        if self.spread and len(able) > 1:
            yield f"before them goes where the fewest of the step run by {self.spread}"
        unable = [prospect for prospect in self.workers if not prospect.able]
        if unable:
            yield f"{_counted(len(unable), 'worker')} cannot take it"
            yield from (f"  {prospect.name} {prospect.obstacle}" for prospect in unable)


def explain(
    step: Step,
    slot: Slot,
    desired: DesiredState,
    seen: Mapping[str, WorkerStatus],
    loads: Mapping[str, Load],
    *,
    overrides: Mapping[str, Override] | None = None,
) -> Explanation:
    """Say where a step of a project would run for a slot, of a desired state and as workers were last seen.

    `loads` says what lives on each worker; absent, nothing. `overrides` says which workers people drain.
    """
    declared = desired.objects[Address("Project", slot.project)]
    project = ProjectSpec.parse(declared.spec)
    tags = TenantSpec.parse(desired.objects[Address("Tenant", slot.tenant)].spec).tags if slot.tenant else ()
    left_out = leaves_out(step, slot.environment, tags, ()) or ""
    known = Explanation(step.name, str(declared.position), slot, left_out)
    if step.action[0] == "manual":
        return replace(known, nowhere=MANUAL)
    whereabouts = Whereabouts.of(desired.objects, desired.space, seen, overrides)
    context = VariableContext(slot.environment, slot.tenant, tags, step.key, slot.project)
    match whereabouts.choice(step, project, context):
        case str(missing):
            return replace(known, nowhere=f"it cannot run: {missing}")
        case Nowhere(reason):
            return replace(known, nowhere=f"nothing can run it: {reason}")
        case choice:
            request = step_request(step, whereabouts.location(step), choice, slot, priority=0)
            builtin = _builtin(choice.pool, whereabouts.fleet)
    known = replace(known, pool=choice.pool, because=choice.because, builtin=builtin)
    found = _among_workers(known, step, request, whereabouts.fleet, loads)
    if found.nowhere:
        return found
    fields = json.loads(step.canonical())
    stored = tuple(words for name, words in STEP_FIELDS.items() if name in fields)
    return replace(found, claims=(*found.claims, *_claims_of_task(project, slot)), stored=stored)


def _among_workers(
    known: Explanation, step: Step, request: Request, fleet: Fleet, loads: Mapping[str, Load]
) -> Explanation:
    """Return what is known together with the workers of the pool and what the step claims of them."""
    assert request.needs is not None
    needs = request.needs
    members = candidates(needs, fleet)
    if isinstance(members, Nowhere):
        return replace(known, nowhere=f"nothing can run it: {members.reason}")
    pool, wanted = fleet.pools[needs.pool], limits_of(step.limits)
    prospects = [_prospect(member, needs, wanted, loads.get(member.name, Load())) for member in members]
    return replace(
        known,
        workers=tuple(sorted(prospects, key=lambda prospect: prospect.rank(pool))),
        spread=request.spread,
        claims=(*_shares(pool, members), *_locks(request)),
    )


def _claims_of_task(project: ProjectSpec, slot: Slot) -> Iterator[str]:
    """Yield what the step shares with its task, and what that holds alone."""
    yield f"one of {project.max_parallel_steps} steps of its task that run at a time (maxParallelSteps)"
    turn = turn_request(0, slot, project.concurrency_tag, priority=0, since=0.0)
    yield from (f"{called(claim.resource)}, which its task holds alone" for claim in turn.claims if claim.alone)


def _builtin(pool: str, fleet: Fleet) -> str:
    """Say whether the built-in worker comes in: it does for the default pool alone, while that is static and empty."""
    name = "the built-in worker"
    if pool != fleet.default_pool:
        return f"{name} does not come in: {pool} is not the default pool, which is {fleet.default_pool}"
    here = fleet.pools[pool]
    if here.dynamic:
        return f"{name} does not come in: the default pool {pool} is dynamic"
    if here.workers:
        has = _counted(len(here.workers), "registered worker")
        return f"{name} does not come in: the default pool {pool} has {has}, in whatever state"
    if not fleet.builtin_enabled:
        return f"{name} does not come in: {fleet.builtin_obstacle}"
    return f"{name} comes in: the default pool {pool} is static and has no workers"


def _prospect(member: Member, needs: Needs, wanted: Limits, load: Load) -> Prospect:
    obstacles = [*member.obstacles(needs)]
    if busy := member.busy(load.attempts):
        obstacles.append(Obstacle(busy, "one of its attempts ended"))
    limits = smaller(wanted, member.limits) or Limits()
    return Prospect(member.name, tuple(obstacles), load, member.isolation, member.run_as, limits)


def _shares(pool: Pool, members: Sequence[Member]) -> Iterator[str]:
    """Yield what it claims of machines and pool, as far as that is bounded."""
    slots = [member.slots for member in members if member.slots is not None]
    if slots:
        least, most = min(slots), max(slots)
        some = ", if it has some" if len(slots) < len(members) else ""
        yield f"one of {f'{least} to ' if least < most else ''}{most} slots of its worker{some}"
    if pool.attempts_max is not None:
        yield f"one of {pool.attempts_max} attempts that run in {called(f'pool/{pool.name}')} at a time"


def _locks(request: Request) -> Iterator[str]:
    """Yield what it claims beside others or alone."""
    if request.exclusive:
        yield "its worker alone: no other script beside it (isolation: exclusive)"
    else:
        yield "its worker beside other scripts (isolation: shared)"
    yield from (f"{called(claim.resource)} alone" for claim in request.claims if claim.alone)
    yield from (f"{called(lock)} alone on its worker" for lock in request.machine_claims)


def _most(limits: Limits) -> Iterator[str]:
    """Yield how much a script may use."""
    if limits.memory is not None:
        yield f"{limits.memory / 2**20:g} MiB of memory at most"
    if limits.cpus is not None:
        yield f"{limits.cpus:g} processors at most"
    if limits.processes is not None:
        yield f"{limits.processes} processes at most"


def _loaded(load: Load) -> str:
    return f"{_counted(load.leases, 'lease')} and {_counted(load.attempts, 'attempt')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
