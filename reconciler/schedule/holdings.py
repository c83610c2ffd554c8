"""What is held: shares of resources, machines, leases. Everything that is granted is entered and given back here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.schedule.fleet import BUILTIN, Fleet, Member
from reconciler.schedule.lines import Line
from reconciler.schedule.machines import Machine
from reconciler.schedule.requests import Claim, Request, RequestId
from reconciler.schedule.waiting import Waiting

SHARED, ALONE = Claim(""), Claim("", alone=True)
NO_LEASES: Mapping[Machine, int] = MappingProxyType({})


@dataclass(slots=True)
class Resource:
    """Something whose use is bounded; without a capacity only claims alone bound it."""

    capacity: int | None = None
    used: int = 0
    alone: RequestId | None = None
    waiting: Waiting = field(init=False)
    """Those that wait for its release."""
    wanted: set[Line] = field(default_factory=set)
    """Those with a claim alone on it."""

    def __post_init__(self) -> None:
        """Let it be waited for."""
        self.waiting = Waiting(self)

    def admits(self, claim: Claim) -> bool:
        """Is there room for the claim?"""
        if self.alone is not None:
            return False
        return self.used == 0 if claim.alone else self.capacity is None or self.used < self.capacity

    @property
    def has_room(self) -> bool:
        """Say whether anybody could claim it."""
        return self.admits(SHARED) or self.admits(ALONE)

    @property
    def is_idle(self) -> bool:
        """Does nobody need to know of it?"""
        return self.capacity is None and not (self.used or self.waiting or self.wanted)


@dataclass(slots=True)
class Hold:
    """What was granted and is not given back; `lost` leaves what is held alone."""

    request: Request
    machine: Machine | None
    claims: list[Claim]
    locks: list[str]
    lost: bool = False


class Holdings:
    """Keeps account; who waits for what is given back is gathered in `woken`."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.woken: set[Line] = set()
        self.holds: dict[RequestId, Hold] = {}
        self._resources: dict[str, Resource] = {}
        self._leases: dict[int, dict[str, dict[Machine, int]]] = {}
        self._spread: dict[tuple[str, str], Counter[Machine]] = {}  # by machine: labels change while grants live
        self._lease_count = 0

    def see(self, fleet: Fleet) -> None:
        """Take in the machines; those that left stay as long as something runs on them or is leased."""
        for member in (fleet.builtin, *fleet.workers.values()):
            machine = self.machines.get(member.name)
            if machine is None:
                machine = self.machines[member.name] = Machine(member)
            else:
                machine.be(member)
        for name in self.machines.keys() - fleet.workers.keys() - {BUILTIN}:
            machine = self.machines[name]
            if machine.is_idle and not machine.leases:
                del self.machines[name]

    def machine(self, name: str) -> Machine:
        """Return a machine; one that has left and carries something still is known by its name."""
        found = self.machines.get(name)
        if found is None:
            found = self.machines[name] = Machine(Member(name, (), ""))
        return found

    def resource(self, name: str) -> Resource:
        """Return a resource; one that nobody has named has no capacity."""
        found = self._resources.get(name)
        if found is None:
            found = self._resources[name] = Resource()
        return found

    def wake(self, resource: Resource) -> None:
        """Let those look again that wait for a resource, if it has room."""
        if resource.waiting and resource.has_room:
            resource.waiting.wake(self.woken)

    def forget(self, name: str) -> None:
        """Drop a resource that nobody needs to know of."""
        if self._resources[name].is_idle:
            del self._resources[name]

    def leased(self, request: Request) -> Mapping[Machine, int]:
        """Return the machines that the request's task holds under its key, with the grants on each; the oldest first."""
        leases = self._leases.get(request.task)
        return leases.get(request.lease_key, NO_LEASES) if leases is not None else NO_LEASES

    def spread(self, request: Request) -> Counter[str]:
        """Return how many grants of the request's step live on each value of its label, as the machines have it now."""
        found: Counter[str] = Counter()
        for machine, count in self._spread.get((request.step, request.spread), {}).items():
            found[value_of(machine.member, request.spread)] += count
        return found

    # In.

    def enter(self, request: Request, machine: Machine | None) -> None:
        """Enter a grant."""
        self.holds[request.id] = Hold(request, machine, list(request.claims), list(request.machine_claims))
        for claim in request.claims:
            resource = self.resource(claim.resource)
            resource.used += 1
            if claim.alone:
                resource.alone = request.id
        if machine is not None:
            machine.running += 1
            if request.exclusive:
                machine.alone = request.id
            for lock in request.machine_claims:
                machine.locks[lock] = request.id
            if request.spread:
                counts = self._spread.setdefault((request.step, request.spread), Counter())
                counts[machine] += 1
            if request.lease_key:
                self.lease(request.task, request.lease_key, machine, 1)
            machine.touch()

    def lease(self, task: int, key: str, machine: Machine, grants: int) -> None:
        """Count grants to a task under a key on a machine; the first ones make a lease."""
        leased = self._leases.setdefault(task, {}).setdefault(key, {})
        if machine not in leased:
            leased[machine] = 0
            machine.leases += 1
            self._lease_count += 1
            machine.leased_at = self._lease_count
        leased[machine] += grants

    # Out.

    def release(self, name: RequestId) -> None:
        """Give everything back that is left of a grant; harmless where nothing is. The one place that frees a slot."""
        hold = self.holds.pop(name, None)
        if hold is None:
            return
        for claim in hold.claims:
            self._unclaim(claim)
        machine = hold.machine
        if machine is not None:
            if machine.alone == name:
                machine.alone = None
            for lock in hold.locks:
                del machine.locks[lock]
            if hold.lost:
                machine.lost -= 1
            else:
                self._vacate(hold, machine)
            self._changed(machine)

    def lose(self, name: RequestId) -> None:
        """Give back what a lost grant shared; what it holds alone stays held until it is released.

        Until then nobody gets its machine alone.
        """
        hold = self.holds.get(name)
        if hold is None or hold.lost:
            return
        hold.lost = True
        for claim in hold.claims:
            if not claim.alone:
                self._unclaim(claim)
        hold.claims = [claim for claim in hold.claims if claim.alone]
        if hold.machine is not None:
            hold.machine.lost += 1
            self._vacate(hold, hold.machine)
            self._changed(hold.machine)

    def loosen(self, name: RequestId, resource: str) -> None:
        """Give one claim back before the rest: a package is acquired, a parent waits for its child."""
        hold = self.holds.get(name)
        if hold is None:
            return
        for claim in [claim for claim in hold.claims if claim.resource == resource]:
            hold.claims.remove(claim)
            self._unclaim(claim)
        if hold.machine is not None and resource in hold.locks:
            hold.locks.remove(resource)
            del hold.machine.locks[resource]
            self._changed(hold.machine)

    def end_leases(self, task: int) -> None:
        """End a task's leases."""
        for leased in self._leases.pop(task, {}).values():
            for machine in leased:
                machine.leases -= 1
                machine.touch()

    def _vacate(self, hold: Hold, machine: Machine) -> None:
        machine.running -= 1
        if hold.request.spread:
            key = hold.request.step, hold.request.spread
            counts = self._spread[key]
            counts[machine] -= 1
            if not counts.total():
                del self._spread[key]

    def _unclaim(self, claim: Claim) -> None:
        resource = self._resources[claim.resource]
        resource.used -= 1
        if claim.alone:
            resource.alone = None
        self.wake(resource)
        self.forget(claim.resource)

    def _changed(self, machine: Machine) -> None:
        machine.touch()
        for view in machine.views:
            if view.open:
                view.waiting.wake(self.woken)


def value_of(member: Member, label: str) -> str:
    """Return a machine's value of the label that grants are spread over; `worker` is its own name."""
    return member.name if label == "worker" else member.labels.get(label, "")
