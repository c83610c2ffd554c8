"""The scheduler and everybody who waits for it: tasks ask for each attempt, and are woken when it was granted."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.model.live import TaskId
from reconciler.protocol.objects import dumped, loaded
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.asking import TASKS, resumed
from reconciler.schedule.explain import Wait
from reconciler.schedule.fleet import Fleet, Member
from reconciler.schedule.placement import can_take
from reconciler.schedule.queue import TASKS_MAX
from reconciler.schedule.requests import Claim, Grant, Request, RequestId
from reconciler.schedule.scheduler import Scheduler
from reconciler.store import attempts, worker_leases
from reconciler.store.attempts import Held
from reconciler.store.database import Transaction
from reconciler.store.worker_leases import WorkerLease


@dataclass(frozen=True, slots=True)
class Memory:
    """What was granted before this engine began: it holds what it held."""

    held: list[Held]
    leases: list[WorkerLease]


@dataclass(frozen=True, slots=True)
class Taken:
    """The turns that tasks took, by task, with their places in the order of the grants; why each other one waits."""

    granted: Mapping[int, int]
    waiting: Mapping[int, Wait]


def remembered(tx: Transaction) -> Memory:
    """Read what is held."""
    return Memory(attempts.held(tx), worker_leases.leases(tx))


class Leasing:
    """Keeps the one scheduler of an engine; every grant is taken by who asked for it, or dropped."""

    def __init__(self, tasks_max: int = TASKS_MAX) -> None:
        self._scheduler = Scheduler()
        self._tasks_max = tasks_max
        self._scheduler.resize(TASKS, tasks_max)
        self._fleet = Fleet({}, {})
        self._asked: dict[RequestId, tuple[Request, asyncio.Event]] = {}
        self._granted: dict[RequestId, Grant] = {}
        self._tickets: dict[TicketId, RequestId] = {}
        self._queued: set[RequestId] = (
            set()
        )  # turns that tasks asked for with the last look at the queue, and did not take

    # The fleet.

    def follow(self, fleet: Fleet) -> None:
        """Take in the fleet as it was read."""
        if fleet is self._fleet or fleet == self._fleet:
            return
        for name in self._fleet.pools.keys() - fleet.pools.keys():
            self._scheduler.resize(f"pool/{name}", None)
        for name, pool in fleet.pools.items():
            self._scheduler.resize(f"pool/{name}", pool.attempts_max)
        self._scheduler.resize(TASKS, min(self._tasks_max, fleet.task_quota or self._tasks_max))
        self._fleet = fleet
        self._scheduler.see_fleet(fleet)
        self.decide()

    def see(self, before: Fleet, after: Fleet, member: Member) -> None:
        """Take in how one worker is now: all in which the fleet `after` differs from the one `before`."""
        if before is not self._fleet:
            self.follow(after)
            return
        self._fleet = after
        self._scheduler.see_machine(member)
        self.decide()

    def restore(self, memory: Memory) -> None:
        """Take in what was granted before; the fleet is known."""
        for lease in memory.leases:
            self._scheduler.restore_lease(lease.task, lease.key, lease.worker, lease.grants)
        for held in memory.held:
            request = loaded(Request, held.request.encode()) if held.request else _unknown(held)
            self._scheduler.restore(request, held.worker)
            self._tickets[TicketId(held.ticket)] = request.id
            if held.lost:
                self._scheduler.lose(request.id)

    # Asking.

    def place(self, request: Request, wake: asyncio.Event) -> Grant | Wait:
        """Take what was granted to a request, or say why it waits; `wake` is set when that may have changed.

        The first time asks. A request that differs from what was asked under its name takes its place in the queue.
        """
        grant = self._granted.pop(request.id, None)
        if grant is not None and grant.request == replace(request, since=grant.request.since) and self.fits(grant):
            return grant
        if grant is not None:  # what was granted a while ago, and is not there any more or not wanted so
            self._scheduler.release(request.id)
        before = self._asked.get(request.id)
        if before is None or before[0] != replace(request, since=before[0].since):
            since = request.since if before is None else before[0].since
            self._scheduler.withdraw(request.id)
            self._asked[request.id] = (replace(request, since=since), wake)
            self._scheduler.ask(self._asked[request.id][0])
            self.decide()
        return self._granted.pop(request.id, None) or self._scheduler.wait(request.id)

    def take(self, turns: Iterable[Request], wake: asyncio.Event) -> Taken:
        """Let tasks ask for their turns, all before one is granted, and take those that are.

        `wake` is set when one of the others was granted its turn later. A task that asks no more has left the queue.
        """
        asking = list(turns)
        for request in asking:
            if request.id not in self._asked and request.id not in self._granted:
                self._asked[request.id] = (request, wake)
                self._scheduler.ask(request)
        names = {request.id for request in asking}
        for gone in self._queued - names:
            self._give_up(gone)
        self.decide(taking=names)
        granted = [name for name in self._granted if self._granted[name].request.needs is None]
        order = {name: place for place, name in enumerate(granted)}
        taken = {request.task: order[request.id] for request in asking if self._granted.pop(request.id, None)}
        self._queued = {request.id for request in asking if request.task not in taken}
        return Taken(taken, {one.task: self._scheduler.wait(one.id) for one in asking if one.task not in taken})

    def decide(self, taking: Collection[RequestId] = ()) -> None:
        """Grant what can be granted, and wake whom it was granted to, except those who are `taking` it right now."""
        for grant in self._scheduler.decide(time.time()):
            _, wake = self._asked.pop(grant.request.id)
            self._granted[grant.request.id] = grant
            if grant.request.id not in taking:
                wake.set()

    def keep(self, grant: Grant) -> None:
        """Keep what was taken for who asked for it, until he asks for it again."""
        self._granted[grant.request.id] = grant

    def drop(self, name: RequestId) -> None:
        """Give a request up: it waits no longer, and a grant that has no ticket is given back."""
        self._give_up(name)
        self.decide()

    def _give_up(self, name: RequestId) -> None:
        if self._asked.pop(name, None) is not None:
            self._scheduler.withdraw(name)
        else:
            self._granted.pop(name, None)
            self._scheduler.release(name)

    def fits(self, grant: Grant) -> bool:
        """Say whether the machine of a grant can take what was asked for, of the fleet as it was taken in last."""
        needs = grant.request.needs
        return needs is None or can_take(grant.machine, needs, self._fleet)

    # Holding.

    def begin(self, turn: Request, *, rests: bool = False) -> None:
        """Take in a task that another engine began; one that `rests` waits for a person and has no place."""
        self._scheduler.restore(turn, "")
        if rests:
            self._scheduler.loosen(turn.id, TASKS)

    def rest(self, turn: RequestId) -> None:
        """Free a task's place among those that run, and its leases: it waits for a person."""
        self._scheduler.loosen(turn, TASKS)
        self.drop(resumed(turn))

    def end(self, turn: RequestId, task: TaskId) -> None:
        """Free everything that a task held: it has ended."""
        self._scheduler.end_leases(task)
        self._scheduler.release(turn)
        self.drop(resumed(turn))

    @property
    def holders(self) -> Iterable[TicketId]:
        """The tickets that hold something."""
        return self._tickets.keys()

    def bind(self, grant: Grant, ticket: TicketId) -> None:
        """From here on the grant is that of a ticket."""
        self._tickets[ticket] = grant.request.id

    def release(self, ticket: TicketId) -> None:
        """Free what an attempt held: its end is recorded. Harmless where it holds nothing."""
        name = self._tickets.pop(ticket, None)
        if name is not None:
            self._scheduler.release(name)
            self.decide()

    def lose(self, ticket: TicketId) -> None:
        """Free what an attempt shared that was given up; what it held alone stays held until its end is known."""
        name = self._tickets.get(ticket)
        if name is not None:
            self._scheduler.lose(name)
            self.decide()

    def end_leases(self, task: TaskId) -> None:
        """End what a task leased."""
        self._scheduler.end_leases(task)

    def rivals(self, grant: Grant) -> tuple[tuple[str, str], ...]:
        """Say of other workers why a grant did not go to them."""
        return self._scheduler.rivals(grant)

    def capacities(self, grant: Grant) -> Mapping[str, int]:
        """Return the bounds that a grant was made within, by resource."""
        member, needs = self._fleet.machine(grant.machine), grant.request.needs
        pool = self._fleet.pools.get(needs.pool) if needs is not None else None
        found = {
            f"worker/{grant.machine}": member.slots if member is not None else None,
            f"pool/{pool.name if pool is not None else ''}": pool.attempts_max if pool is not None else None,
        }
        return {name: capacity for name, capacity in found.items() if capacity is not None}


def claims_of(grant: Grant) -> Iterable[Claim]:
    """Return everything that a grant claims, with what each machine has of its own under the machine's name."""
    request = grant.request
    yield Claim(f"worker/{grant.machine}", request.exclusive)
    yield from request.claims
    yield from (Claim(f"{lock} on {grant.machine}", alone=True) for lock in request.machine_claims)


def recorded(request: Request) -> str:
    """Return a request as an attempt's row keeps it."""
    return dumped(request).decode("utf-8", "surrogatepass")


def _unknown(held: Held) -> Request:
    """Stand for what was asked for an attempt that an older version granted."""
    return Request(RequestId(f"task/{held.task}/{held.ticket}"), "", 0.0, held.task)
