"""Requests that wait, in lines: those of a line differ in nothing that decides when they may run."""

from collections.abc import Hashable, Iterable, Iterator
from heapq import heappop, heappush

from reconciler.schedule.machines import View
from reconciler.schedule.requests import Arrival, Request, RequestId
from reconciler.schedule.turns import Class, Turn, Turns
from reconciler.schedule.waiting import Waiting


def line_key(request: Request) -> Hashable:
    """Return what requests of one line have in common."""
    return (
        request.project,
        request.priority,
        request.top_since is not None,
        request.needs,
        request.claims,
        request.machine_claims,
        request.exclusive,
    )


class Line:
    """Waiting requests of one kind, in the order of their arrival; the first one stands for all."""

    __slots__ = (
        "_arrivals",
        "_requests",
        "_turns",
        "arrival",
        "group",
        "head",
        "key",
        "last",
        "number",
        "origins",
        "view",
    )

    def __init__(self, number: int, key: Hashable, view: View | None, turns: Turns, first: Request) -> None:
        self.number = number
        self.key = key
        self.view = view
        self.group: Class = turns.class_of(first)
        self.head = first
        """The request that is next."""
        self.arrival = first.arrival
        """Its arrival."""
        self.last = first
        """The request that left it last."""
        self.origins: list[Waiting] = []
        """Where it waited before it was woken."""
        self._turns = turns
        self._arrivals: list[Arrival] = []  # a heap, with those that left before their turn
        self._requests: dict[RequestId, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests.values())

    def request(self, name: RequestId) -> Request:
        """Return one of those that wait."""
        return self._requests[name]

    @property
    def is_able(self) -> bool:
        """Is there a machine that fits, whatever it does just now?"""
        return self.view is None or bool(self.view.fit)

    def add(self, request: Request) -> None:
        """Let a request queue by its arrival."""
        self._requests[request.id] = request
        heappush(self._arrivals, request.arrival)
        self._look()

    def remove(self, name: RequestId) -> None:
        """Take a request out, wherever it stands."""
        self.last = self._requests.pop(name)
        if name == self.arrival[-1]:
            self._look()

    def _look(self) -> None:
        """Find who is first, dropping those that left before their turn."""
        while self._requests:
            self.arrival = self._arrivals[0]
            found = self._requests.get(self.arrival[-1])
            if found is not None and found.arrival == self.arrival:
                self.head = found
                return
            heappop(self._arrivals)
        self._arrivals.clear()

    def served(self, now: float) -> None:
        """Count a grant to it."""
        self._turns.serve(self.group, now)

    def turn(self, now: float) -> Turn:
        """Say where the line stands."""
        return self._turns.turn(self.head, self.arrival, self.group, now)


class Queue:
    """Lines in the order of their turns while grants are made, which move their classes back.

    Of one class the line whose head came first is first, so only classes are put in order again.
    """

    def __init__(self, lines: Iterable[Line], now: float) -> None:
        self._now = now
        self._lines: dict[Class, list[tuple[Arrival, int, Line]]] = {}
        self._classes: list[tuple[Turn, int, Class]] = []  # a heap
        self._entries: dict[Class, int] = {}  # the one entry of each class that counts
        self._count = 0
        for line in lines:
            self.push(line)

    def push(self, line: Line) -> None:
        """Add a line, if somebody waits in it, and put its class where it stands now."""
        lines = self._lines.setdefault(line.group, [])
        if line:
            heappush(lines, (line.arrival, line.number, line))
        self._stand(line.group)

    def push_next(self, origin: Waiting, group: Class) -> None:
        """Add the next line of a class that waits where one was woken, as long as there is room."""
        if origin.owner.has_room:
            line = origin.next_of(group)
            if line is not None:
                self.push(line)

    def pop(self) -> tuple[Line, Turn] | None:
        """Take out the line whose turn it is; its class has no other turn before `push` or `put_off`."""
        while self._classes:
            turn, entry, group = heappop(self._classes)
            lines = self._lines[group]
            if entry != self._entries[group] or not lines:
                continue
            line = lines[0][-1]
            if not _is_fresh(lines[0]) or line.turn(self._now) != turn:
                self._stand(group)
                continue
            heappop(lines)
            return line, turn
        return None

    def put_off(self, line: Line) -> None:
        """Leave a line out that was taken out, and go on with the others of its class."""
        self._stand(line.group)

    def _stand(self, group: Class) -> None:
        """Put a class where its first line stands."""
        lines = self._lines[group]
        while lines and not _is_fresh(lines[0]):
            heappop(lines)
        if lines:
            self._count += 1
            self._entries[group] = self._count
            heappush(self._classes, (lines[0][-1].turn(self._now), self._count, group))


def _is_fresh(entry: tuple[Arrival, int, Line]) -> bool:
    """Say whether the line still stands as it was pushed: one that waits for two things may be here twice, and served once."""
    arrival, _, line = entry
    return bool(line) and arrival == line.arrival
