"""Who waits for one thing: a resource, or a machine of a view. What becomes free does not wake them all."""

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from reconciler.schedule.requests import Arrival
from reconciler.schedule.turns import Class

if TYPE_CHECKING:
    from reconciler.schedule.lines import Line


class Owner(Protocol):
    """What is waited for."""

    @property
    def has_room(self) -> bool:
        """Could anybody have it now?"""


class Waiting:
    """Lines that wait for one thing; what becomes free wakes the first of each class, and each that is served the next."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._members: set[Line] = set()
        self._classes: dict[Class, list[tuple[Arrival, int, Line]]] = {}  # heaps, with those that left

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, line: "Line") -> None:
        """Let a line wait here, too."""
        if line and line not in self._members:
            self._members.add(line)
            heappush(self._classes.setdefault(line.group, []), (line.arrival, line.number, line))

    def discard(self, line: "Line") -> None:
        """Let a line wait here no longer."""
        self._members.discard(line)

    def wake(self, woken: "set[Line]") -> None:
        """Take the first of each class out, into `woken`."""
        for group in list(self._classes):
            line = self.next_of(group)
            if line is not None:
                woken.add(line)

    def next_of(self, group: Class) -> "Line | None":
        """Take out the line of a class whose head came first, and remember that it comes from here."""
        heap = self._classes.get(group, [])
        while heap:
            arrival, number, line = heappop(heap)
            if line not in self._members:
                continue
            if arrival != line.arrival:
                heappush(heap, (line.arrival, number, line))
                continue
            self._members.discard(line)
            line.origins.append(self)
            return line
        self._classes.pop(group, None)
        return None
