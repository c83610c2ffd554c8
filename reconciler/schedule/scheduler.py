"""The scheduler: events in, grants out. It holds everything in memory, can be told it again, and touches no clock.

One rule orders everything (`turns`); one more keeps the order from being undone: nobody takes a *lock* that one before
him in the order waits for. Locks are claims alone: a mutex, a concurrency tag, a machine for one script. Capacities
(slots, caps) go to whoever can use them. Of waiting requests that are alike the first stands for all.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import replace

from reconciler.schedule.explain import Wait, rivals, wait_of
from reconciler.schedule.fleet import Fleet, Member
from reconciler.schedule.holdings import Holdings, value_of
from reconciler.schedule.lines import Line, Queue, line_key
from reconciler.schedule.machines import Machine, View
from reconciler.schedule.requests import Grant, Needs, Request, RequestId
from reconciler.schedule.turns import Turn, Turns
from reconciler.schedule.waiting import Waiting

VIEWS_MAX = 1_000  # kept while nobody waits in them, since the same needs come again


class Scheduler:
    """Decides who may run where; `decide` is to be called whenever something was told."""

    def __init__(self) -> None:
        self._turns = {False: Turns(), True: Turns()}  # of tasks, of steps
        self._fleet = Fleet({}, {})
        self._held = Holdings()
        self._views: dict[Needs, View] = {}
        self._lines: dict[Hashable, Line] = {}
        self._line_of: dict[RequestId, Line] = {}
        self._parked: list[tuple[Waiting, Line]] = []  # by the decision that is being made
        self._behind: set[Line] = set()  # somebody before them waits for a lock that they want, too
        self._roaming: set[Line] = set()  # want any one machine of a pool for themselves
        self._bound: dict[str, set[Line]] = {}  # machine → those that want this one for themselves
        self._line_count = 0

    # What happens.

    def see_fleet(self, fleet: Fleet) -> None:
        """Take in the fleet as it is now; machines that left keep what runs on them until that ends."""
        self._fleet = fleet
        self._held.see(fleet)
        if len(self._views) > VIEWS_MAX:
            self._drop_views()
        for view in self._views.values():
            view.look(fleet, self._held.machines)
            self._wake(view)

    def see_machine(self, member: Member) -> None:
        """Take in how one machine of the fleet is now; its pools are as before."""
        machine = self._held.machines[member.name]
        machine.be(member)
        for needs, view in self._views.items():
            if needs.machine == member.name or (needs.pool in member.pools and not needs.machine):
                view.see(machine)
                self._wake(view)

    def resize(self, resource: str, capacity: int | None) -> None:
        """Set a capacity; what runs beyond it goes on."""
        found = self._held.resource(resource)
        found.capacity = capacity
        self._held.wake(found)

    def ask(self, request: Request) -> None:
        """Let a request wait for its turn; `request.id` neither waits nor is granted."""
        key = line_key(request)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = self._new_line(key, request)
        line.add(request)
        self._line_of[request.id] = line
        self._held.woken.add(line)

    def withdraw(self, name: RequestId) -> None:
        """Forget a request that waits; harmless where it does not."""
        line = self._line_of.pop(name, None)
        if line is not None:
            line.remove(name)
            self._tidy(line)

    def release(self, name: RequestId) -> None:
        """Take back what a request was granted: it has ended, and whatever it started has."""
        self._held.release(name)

    def lose(self, name: RequestId) -> None:
        """Take back what a lost request shared; what it holds alone stays held until it is released."""
        self._held.lose(name)

    def loosen(self, name: RequestId, resource: str) -> None:
        """Take one claim back before the rest: a package is acquired, a parent waits for its child."""
        self._held.loosen(name, resource)

    def end_leases(self, task: int) -> None:
        """End what a task leased: it has ended, or waits for a person."""
        self._held.end_leases(task)

    def restore(self, request: Request, machine: str) -> None:
        """Take in a grant that was made before this scheduler began; its lease is told apart from it."""
        self._held.enter(replace(request, lease_key=""), self._held.machine(machine) if machine else None)

    def restore_lease(self, task: int, key: str, machine: str, grants: int) -> None:
        """Take in a lease from before this scheduler began; the oldest is told first."""
        found = self._held.machine(machine)
        self._held.lease(task, key, found, grants)
        found.touch()

    # What follows.

    def decide(self, now: float) -> list[Grant]:
        """Grant all that can be granted, in the order of turns; `now` is in seconds since the epoch."""
        queue = Queue(self._held.woken | self._behind, now)
        self._held.woken.clear()
        self._behind.clear()
        grants: list[Grant] = []
        while (found := queue.pop()) is not None:
            line, turn = found
            origins, line.origins = line.origins, []
            grant = self._try(line, turn, now)
            if grant is not None:
                grants.append(grant)
                line.served(now)
                queue.push(line)
                for other in self._behind:  # whom they stood behind may now come after them
                    queue.push(other)
                self._behind.clear()
            else:
                queue.put_off(line)
            for origin in origins:
                queue.push_next(origin, line.group)
        for place, line in self._parked:
            place.add(line)
        self._parked.clear()
        return grants

    def wait(self, name: RequestId) -> Wait:
        """Say why a request that waits was not granted by the last `decide`."""
        line = self._line_of[name]
        return wait_of(line.request(name), line.view, self._held, self._fleet)

    def rivals(self, grant: Grant) -> tuple[tuple[str, str], ...]:
        """Say of other machines why a grant that was just made did not go to them."""
        return rivals(grant, self._held, self._fleet)

    def _try(self, line: Line, turn: Turn, now: float) -> Grant | None:
        request = line.head
        for claim in request.claims:
            resource = self._held.resource(claim.resource)
            if not resource.admits(claim):
                self._parked.append((resource.waiting, line))
                return None
            if len(resource.wanted) > claim.alone and _somebody_before(line, turn, resource.wanted, now):
                self._behind.add(line)
                return None
        if line.view is None:
            return self._grant(line, request, None)
        if not line.view.open:
            self._parked.append((line.view.waiting, line))
            return None
        return self._place(line, line.view, turn, now)

    def _place(self, line: Line, view: View, turn: Turn, now: float) -> Grant | None:
        request = line.head
        booked = self._booked(line, turn, now) if self._roaming else ()
        stands_behind = False

        def accept(machine: Machine) -> bool:
            nonlocal stands_behind
            if request.exclusive and not machine.is_idle:
                return False
            if request.machine_claims and any(lock in machine.locks for lock in request.machine_claims):
                return False
            if machine in booked or (self._bound and self._is_bound(machine, line, turn, now)):
                stands_behind = True
                return False
            return True

        found = self._choose(view, request, accept)
        if found is not None:
            return self._grant(line, request, found)
        self._parked.append((view.waiting, line))
        if stands_behind:
            self._behind.add(line)
        return None

    def _choose(self, view: View, request: Request, accept: Callable[[Machine], bool]) -> Machine | None:
        """Prefer a machine that the task leased under the key, then the view's order; spreading comes before both."""
        if request.spread:
            counts = self._held.spread(request)
            spread = (machine for machine in view.fit.values() if machine.roomy and accept(machine))
            return min(
                spread,
                key=lambda machine: (counts[value_of(machine.member, request.spread)], view.rank(machine)),
                default=None,
            )
        leased, cap = self._held.leased(request), request.lease_cap
        if not leased:
            return view.first(accept)
        able = [machine for machine in leased if view.is_open(machine) and accept(machine)]
        kept = next((machine for machine in able if not cap or leased[machine] < cap), None)
        if kept is not None:
            return kept
        fresh = view.first(lambda machine: machine not in leased and accept(machine))
        if fresh is not None:
            return fresh
        return min(able, key=lambda machine: (leased[machine], view.rank(machine)), default=None)

    # Who is before whom.

    def _is_bound(self, machine: Machine, line: Line, turn: Turn, now: float) -> bool:
        """Say whether one before `line` waits to have just this machine for himself."""
        bound = self._bound.get(machine.name)
        return bound is not None and _somebody_before(line, turn, filter(self._is_unhindered, bound), now)

    def _booked(self, line: Line, turn: Turn, now: float) -> Collection[Machine]:
        """Return the machines that those before `line` wait to have for themselves: for each the least busy one."""
        before = sorted(
            (other.turn(now), other.number, other)
            for other in self._roaming
            if other is not line and other.turn(now) < turn and self._is_unhindered(other)
        )
        booked: set[Machine] = set()
        for their_turn, _, other in before:
            assert other.view is not None, "who wants a machine has a view of them"
            free = [
                machine
                for machine in other.view.fit.values()
                if machine not in booked and not self._is_bound(machine, other, their_turn, now)
            ]
            if free:
                booked.add(min(free, key=lambda machine: (machine.running, machine.alone is not None, machine.name)))
        return booked

    def _is_unhindered(self, line: Line) -> bool:
        """Say whether a machine is all that a line waits for."""
        return all(self._held.resource(claim.resource).admits(claim) for claim in line.head.claims)

    # Lines.

    def _grant(self, line: Line, request: Request, machine: Machine | None) -> Grant:
        del self._line_of[request.id]
        grant = Grant(
            request,
            machine.name if machine else "",
            kept=machine in self._held.leased(request),
            leases=machine.leases if machine else 0,
            open=line.view.open if line.view else 1,
        )
        self._held.enter(request, machine)
        line.remove(request.id)
        self._tidy(line)
        return grant

    def _new_line(self, key: Hashable, request: Request) -> Line:
        view = self._view(request.needs) if request.needs is not None else None
        self._line_count += 1
        line = Line(self._line_count, key, view, self._turns[view is not None], request)
        for claim in request.claims:
            if claim.alone:
                self._held.resource(claim.resource).wanted.add(line)
        if request.exclusive and request.needs is not None:
            self._bound_to(request.needs).add(line)
        return line

    def _tidy(self, line: Line) -> None:
        """Drop a line that is empty."""
        if line:
            return
        request = line.last
        del self._lines[line.key]
        for claim in request.claims:
            resource = self._held.resource(claim.resource)
            resource.wanted.discard(line)
            resource.waiting.discard(line)
            self._held.forget(claim.resource)
        if line.view is not None:
            line.view.waiting.discard(line)
        if request.exclusive and request.needs is not None:
            self._bound_to(request.needs).discard(line)
            if request.needs.machine and not self._bound[request.needs.machine]:
                del self._bound[request.needs.machine]

    def _bound_to(self, needs: Needs) -> set[Line]:
        return self._bound.setdefault(needs.machine, set()) if needs.machine else self._roaming

    def _view(self, needs: Needs) -> View:
        found = self._views.get(needs)
        if found is None:
            found = self._views[needs] = View(needs)
            found.look(self._fleet, self._held.machines)
        return found

    def _drop_views(self) -> None:
        """Forget the views in which nobody waits."""
        in_use = {line.view for line in self._lines.values()}
        for needs, view in list(self._views.items()):
            if view not in in_use:
                view.forget()
                del self._views[needs]

    def _wake(self, view: View) -> None:
        view.waiting.wake(self._held.woken)


def _somebody_before(line: Line, turn: Turn, others: Iterable[Line], now: float) -> bool:
    """Is one of `others` before `line`, and could run somewhere?"""
    return any(other is not line and other.is_able and other.turn(now) < turn for other in others)
