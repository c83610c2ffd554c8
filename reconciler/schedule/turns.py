"""Whose turn it is: what was moved to the top, then priority that rises with waiting, then a round for each project.

Requests of one project and priority are a *class*; those of one project, of whatever priority, are a *flow*. Flows
are served in rounds: whoever was granted something in this round comes after everybody who was not. A flow that
could not use its turn keeps no credit. Tasks and steps have rounds of their own.

What follows, and what the tests measure: while the number of flows that wait is `n`, and none of a higher level is
among them, a request at the head of its flow sees at most `n - 1` grants to others from the moment that it could run.
"""

from dataclasses import dataclass

from reconciler.schedule.requests import Arrival, Request

AGEING = 600.0
"""Seconds without a grant after which a class competes one priority higher."""

Turn = tuple[int, int, int, Arrival]
"""What requests are ordered by, the first one smallest."""


@dataclass(slots=True)
class Flow:
    """The requests of one project; `next_round` is the first round in which it is due again."""

    next_round: int = 0


@dataclass(slots=True, eq=False)
class Class:
    """The requests of one flow at one priority, or those of them that were moved to the top."""

    flow: Flow
    priority: int
    granted_at: float = 0.0


class Turns:
    """Keeps the rounds of tasks or of steps."""

    def __init__(self) -> None:
        self._round = 0
        self._flows: dict[str, Flow] = {}
        self._classes: dict[tuple[str, int, bool], Class] = {}

    def class_of(self, request: Request) -> Class:
        """Return the class that a request belongs to."""
        key = request.project, request.priority, request.top_since is not None
        found = self._classes.get(key)
        if found is None:
            flow = self._flows.setdefault(request.project, Flow())
            found = self._classes[key] = Class(flow, request.priority)
        return found

    def turn(self, request: Request, arrival: Arrival, group: Class, now: float) -> Turn:
        """Say where a request of this arrival stands; it moves back when its flow or its class is served, and forward with time."""
        if request.top_since is not None:
            return (0, 0, 0, arrival)
        waited = now - max(request.since, group.granted_at)
        level = group.priority + (int(waited // AGEING) if waited > 0 else 0)
        return (1, -level, max(self._round, group.flow.next_round), arrival)

    def serve(self, group: Class, now: float) -> None:
        """Count a grant."""
        self._round = max(self._round, group.flow.next_round)
        group.flow.next_round = self._round + 1
        group.granted_at = now
