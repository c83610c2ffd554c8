"""The machines as the scheduler knows them: what runs on each, and for each set of needs who fits and who is next."""

import sys
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from reconciler.schedule.fleet import Fleet, Member
from reconciler.schedule.placement import Nowhere, candidates
from reconciler.schedule.requests import Needs, RequestId
from reconciler.schedule.waiting import Waiting

LEASE_BITS = 48  # more than enough for every lease of a server's life, so that two numbers compare as one
STALE_MAX = 64  # entries of a heap beyond twice its machines; then it is built again


class Machine:
    """One machine and what it carries. Whatever changes here is told by `touch`, so that the views follow."""

    __slots__ = (
        "alone",
        "leased_at",
        "leases",
        "locks",
        "lost",
        "member",
        "name",
        "roomy",
        "running",
        "slots",
        "stamp",
        "views",
    )

    def __init__(self, member: Member) -> None:
        self.name = member.name
        self.running = 0
        """Attempts that live here."""
        self.lost = 0
        """Attempts that were given up here, and may live."""
        self.alone: RequestId | None = None
        """Who runs alone here, or did and was lost."""
        self.locks: dict[str, RequestId] = {}
        """Locks of its own: mutexes of machines, packages that are being acquired."""
        self.leases = 0
        self.leased_at = 0
        """When it was leased last, as a number that rises with each lease; 0 is never."""
        self.views: list[View] = []
        """The views that it fits."""
        self.stamp = 0
        self.roomy = False
        self.be(member)

    @property
    def is_idle(self) -> bool:
        """Is it known that nothing runs here?"""
        return self.running == 0 and self.lost == 0 and self.alone is None

    def be(self, member: Member) -> None:
        """Take in how it is declared and seen now."""
        self.member = member
        self.slots = 0 if member.former is not None else sys.maxsize if member.slots is None else member.slots
        self.touch()

    def touch(self) -> None:
        """Let the views know that something changed here."""
        roomy = self.alone is None and self.running < self.slots
        self.stamp += 1
        step = roomy - self.roomy
        self.roomy = roomy
        for view in self.views:
            view.open += step
            if roomy:
                view.moved[self] = None


class View:
    """What some needs see of the fleet: the machines that fit, and of those with room the next one."""

    __slots__ = ("_heap", "fit", "moved", "needs", "nowhere", "open", "round_robin", "waiting")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.fit: dict[str, Machine] = {}
        self.nowhere: Nowhere | None = None
        """Why nothing fits, where the pool as a whole is the reason."""
        self.round_robin = False
        self.open = 0
        """Machines with room."""
        self.waiting = Waiting(self)
        """Those that wait for a machine of it to get room."""
        self.moved: dict[Machine, None] = {}
        """Machines with room that stand elsewhere than the heap knows, until somebody asks who is first."""
        self._heap: list[tuple[int, str, int, Machine]] = []

    @property
    def has_room(self) -> bool:
        """Has any machine of it?"""
        return self.open > 0

    def look(self, fleet: Fleet, machines: dict[str, Machine]) -> None:
        """See the fleet anew."""
        self.forget()
        pool = fleet.pools.get(self.needs.pool)
        self.round_robin = pool is not None and pool.round_robin
        found = candidates(self.needs, fleet)
        self.nowhere = found if isinstance(found, Nowhere) else None
        if not isinstance(found, Nowhere):
            for member in found:
                self.see(machines[member.name])

    def forget(self) -> None:
        """Let go of every machine."""
        for machine in self.fit.values():
            machine.views.remove(self)
        self.fit.clear()
        self._heap.clear()
        self.moved.clear()
        self.open = 0

    def see(self, machine: Machine) -> None:
        """Take in whether a machine that belongs to what is needed fits now."""
        fits = self.nowhere is None and machine.member.unfit(self.needs) is None
        if fits and machine.name not in self.fit:
            self.fit[machine.name] = machine
            machine.views.append(self)
            self.open += machine.roomy
            if machine.roomy:
                self.moved[machine] = None
        elif not fits and self.fit.pop(machine.name, None) is not None:
            machine.views.remove(self)
            self.open -= machine.roomy

    def _settle(self) -> None:
        """Note where those stand now that have moved, once each however often they did."""
        for machine in self.moved:
            if self.is_open(machine):
                heappush(self._heap, (*self.rank(machine), machine.stamp, machine))
        self.moved.clear()
        if len(self._heap) > 2 * len(self.fit) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._is_fresh(entry)]
            heapify(self._heap)

    def rank(self, machine: Machine) -> tuple[int, str]:
        """Say where a machine stands: the fewest leases first, then who was leased longest ago, then by name."""
        return (0 if self.round_robin else machine.leases << LEASE_BITS) + machine.leased_at, machine.name

    def is_open(self, machine: Machine) -> bool:
        """Say whether it fits and has room."""
        return machine.roomy and machine.name in self.fit

    def first(self, accept: Callable[[Machine], bool]) -> Machine | None:
        """Return the machine that is next of those with room that are accepted."""
        self._settle()
        heap, aside = self._heap, []
        found = None
        while heap and found is None:
            entry = heap[0]
            if not self._is_fresh(entry):
                heappop(heap)
            elif accept(entry[-1]):
                found = entry[-1]
            else:
                aside.append(heappop(heap))
        for entry in aside:
            heappush(heap, entry)
        return found

    def _is_fresh(self, entry: tuple[int, str, int, Machine]) -> bool:
        machine = entry[3]
        return entry[2] == machine.stamp and self.is_open(machine)
