"""Where each of those stands who wait for the same, told from the order in which they would be granted one by one."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from reconciler.schedule.explain import called, who
from reconciler.schedule.requests import Request, RequestId
from reconciler.schedule.turns import Class, Turns

SHOWN_MAX = 3
"""Requests before one that are named; the others are counted."""

_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def in_order(waiting: Iterable[Request], granted: Iterable[tuple[Request, float]], now: float) -> list[Request]:
    """Return requests in the order of their turns; `granted` are grants before, each with its moment, the oldest first.

    Moments are in seconds since the epoch.
    """
    turns = Turns()
    for request, at in granted:
        turns.serve(turns.class_of(request), at)
    queues: dict[Class, deque[Request]] = {}
    for request in sorted(waiting, key=lambda one: one.arrival):
        queues.setdefault(turns.class_of(request), deque()).append(request)
    order = []
    while queues:
        group = min(queues, key=lambda one: turns.turn(queues[one][0], queues[one][0].arrival, one, now))
        order.append(queues[group].popleft())
        turns.serve(group, now)
        if not queues[group]:
            del queues[group]
    return order


def places(order: Sequence[Request], things: Mapping[RequestId, str]) -> dict[RequestId, str]:
    """Say of each request its place among those that wait for the same resource; of one that waits alone nothing.

    `things` holds for each what it waits for.
    """
    lines: dict[str, list[Request]] = {}
    for request in order:
        lines.setdefault(things[request.id], []).append(request)
    return {
        request.id: _place(line, number, thing)
        for thing, line in lines.items()
        if len(line) > 1
        for number, request in enumerate(line)
    }


def _place(line: Sequence[Request], number: int, thing: str) -> str:
    place = f"{_ordinal(number + 1)} of {len(line)} that wait for {'their turn' if thing == 'tasks' else called(thing)}"
    if not number:
        return place
    last = max(0, number - SHOWN_MAX)
    names = ", ".join(who(request.id) for request in line[last:number])
    return f"{place}, after {names}{f' and {last} more' if last else ''}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"
