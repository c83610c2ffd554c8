"""The rules of the scheduler, slow and obvious: everything that waits is looked at anew for each single grant."""

from dataclasses import dataclass, field

from reconciler.schedule.fleet import BUILTIN, Fleet
from reconciler.schedule.placement import Nowhere, candidates
from reconciler.schedule.requests import Claim, Request

AGEING = 600


@dataclass
class Held:
    request: Request
    machine: str
    claims: list[Claim]
    locks: list[str]
    lost: bool = False


@dataclass
class Oracle:
    """Told the same as the scheduler, it decides the same."""

    fleet: Fleet = field(default_factory=lambda: Fleet({}, {}))
    capacities: dict[str, int | None] = field(default_factory=dict)
    waiting: dict[str, Request] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    leases: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)
    leased_at: dict[str, int] = field(default_factory=dict)
    lease_count: int = 0
    rounds: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    next_round: dict[tuple[bool, str], int] = field(default_factory=dict)
    granted_at: dict[tuple[bool, str, int, bool], float] = field(default_factory=dict)

    def see_fleet(self, fleet):
        """Take in the machines; one that left with nothing on it is another one when it comes back."""
        self.fleet = fleet
        leased = {name for found in self.leases.values() for name in found}
        for name in self.leased_at.keys() - fleet.workers.keys() - {BUILTIN} - leased:
            if not self._on(name):
                del self.leased_at[name]

    def resize(self, resource, capacity):
        self.capacities[resource] = capacity

    def ask(self, request):
        self.waiting[request.id] = request

    def withdraw(self, name):
        self.waiting.pop(name, None)

    def release(self, name):
        self.held.pop(name, None)

    def lose(self, name):
        held = self.held.get(name)
        if held is not None:
            held.lost = True
            held.claims = [claim for claim in held.claims if claim.alone]

    def loosen(self, name, resource):
        held = self.held.get(name)
        if held is not None:
            held.claims = [claim for claim in held.claims if claim.resource != resource]
            held.locks = [lock for lock in held.locks if lock != resource]

    def end_leases(self, task):
        self.leases = {key: found for key, found in self.leases.items() if key[0] != task}

    def decide(self, now):
        """Return pairs of request and machine, in the order of the grants."""
        grants = []
        while (found := self._next(now)) is not None:
            request, machine = found
            self._take(request, machine, now)
            grants.append((request.id, machine))
        return grants

    # Order.

    def _turn(self, request, now):
        since = request.since if request.top_since is None else request.top_since
        if request.top_since is not None:
            return (0, 0, 0, since, request.task, request.id)
        kind = request.needs is not None
        waited = now - max(request.since, self.granted_at.get((kind, request.project, request.priority, False), 0.0))
        level = request.priority + max(0, int(waited // AGEING))
        due = max(self.rounds[kind], self.next_round.get((kind, request.project), 0))
        return (1, -level, due, since, request.task, request.id)

    def _next(self, now):
        locks: set[str] = set()
        booked: set[str] = set()
        stood: set[tuple] = set()
        for request in sorted(self.waiting.values(), key=lambda request: self._turn(request, now)):
            machine = self._place(request, locks, booked)
            if machine is not None:
                return request, machine
            alike = (
                *(request.project, request.priority, request.top_since is None, request.needs),
                *(request.claims, request.machine_claims, request.exclusive),
            )
            if alike in stood:
                continue
            stood.add(alike)
            fit = [] if request.needs is None else self.fitting(request)
            if request.needs is not None and not fit:
                continue
            locks |= {claim.resource for claim in request.claims if claim.alone}
            if request.exclusive and all(self._admits(claim) for claim in request.claims):
                if request.needs.machine:
                    booked |= {request.needs.machine}
                elif free := [name for name in fit if name not in booked]:
                    booked.add(min(free, key=lambda name: (self._running(name), self._alone(name), name)))
        return None

    # What is free.

    def _place(self, request, locks, booked):
        if any(claim.resource in locks or not self._admits(claim) for claim in request.claims):
            return None
        if request.needs is None:
            return ""
        open_ = [name for name in self.fitting(request) if name not in booked and self._has_room(name, request)]
        return min(open_, key=lambda name: self._rank(name, request), default=None)

    def _rank(self, name, request):
        leased = self.leases.get((request.task, request.lease_key), {}) if request.lease_key else {}
        pool = self.fleet.pools.get(request.needs.pool)
        leases = 0 if pool is not None and pool.round_robin else sum(name in found for found in self.leases.values())
        usual = (leases, self.leased_at.get(name, 0), name)
        if request.spread:
            value = self._value(name, request.spread)
            beside = [
                held
                for held in self.held.values()
                if not held.lost and held.machine and held.request.spread == request.spread
                if held.request.step == request.step and self._value(held.machine, request.spread) == value
            ]
            return (len(beside), *usual)
        if name in leased and (not request.lease_cap or leased[name] < request.lease_cap):
            return (0, list(leased).index(name))
        if name not in leased:
            return (1, *usual)
        return (2, leased[name], *usual)

    def _value(self, name, label):
        return name if label == "worker" else self.fleet.machine(name).labels.get(label, "")

    def fitting(self, request):
        found = candidates(request.needs, self.fleet)
        return [] if isinstance(found, Nowhere) else [one.name for one in found if one.unfit(request.needs) is None]

    def _on(self, name):
        return [held for held in self.held.values() if held.machine == name]

    def _running(self, name):
        return sum(not held.lost for held in self._on(name))

    def _alone(self, name):
        return any(held.request.exclusive for held in self._on(name))

    def _has_room(self, name, request):
        slots = self.fleet.machine(name).slots
        if self._alone(name) or (slots is not None and self._running(name) >= slots):
            return False
        if request.exclusive and self._on(name):
            return False
        taken = {lock for held in self._on(name) for lock in held.locks}
        return not taken & set(request.machine_claims)

    def _admits(self, claim):
        uses = [one for held in self.held.values() for one in held.claims if one.resource == claim.resource]
        if claim.alone:
            return not uses
        capacity = self.capacities.get(claim.resource)
        return not any(one.alone for one in uses) and (capacity is None or len(uses) < capacity)

    # What is taken.

    def _take(self, request, machine, now):
        del self.waiting[request.id]
        self.held[request.id] = Held(request, machine, list(request.claims), list(request.machine_claims))
        if machine and request.lease_key:
            leased = self.leases.setdefault((request.task, request.lease_key), {})
            if machine not in leased:
                self.lease_count += 1
                self.leased_at[machine] = self.lease_count
            leased[machine] = leased.get(machine, 0) + 1
        kind = request.needs is not None
        due = max(self.rounds[kind], self.next_round.get((kind, request.project), 0))
        self.rounds[kind] = due
        self.next_round[kind, request.project] = due + 1
        self.granted_at[kind, request.project, request.priority, request.top_since is not None] = now
