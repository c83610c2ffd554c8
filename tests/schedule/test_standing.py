"""The place of a request among those that wait for the same, before anybody was granted it."""

from dataclasses import replace

import pytest

from reconciler.schedule.requests import Claim, Grant, Request, RequestId
from reconciler.schedule.scheduler import Scheduler
from reconciler.schedule.standing import in_order, places

NOW = 1_000.0


def turn(number: int, project: str = "shop", **fields: object) -> Request:
    request = Request(RequestId(f"task/{number}"), project, NOW + number, number, claims=(Claim("tasks"),))
    return replace(request, **fields)  # type: ignore[arg-type]  # as the field has it


def numbers(*waiting: Request, granted: tuple[tuple[Request, float], ...] = ()) -> list[int]:
    return [request.task for request in in_order(waiting, granted, NOW + 100)]


def told(count: int) -> list[str]:
    order = [turn(number) for number in range(1, count + 1)]
    found = places(order, {request.id: "tasks" for request in order})
    return [found[request.id] for request in order if request.id in found]


def test_the_order_is_that_of_the_turns() -> None:
    assert numbers(turn(2), turn(1), turn(3)) == [1, 2, 3]
    assert numbers(turn(1), turn(2), turn(3, "till")) == [1, 3, 2]
    assert numbers(turn(1), turn(2, priority=1), turn(3, top_since=NOW)) == [3, 2, 1]
    assert numbers(turn(2), turn(3, "till"), granted=((turn(1), NOW),)) == [3, 2]
    assert numbers(turn(1, since=NOW - 400), turn(2, "till", priority=1, since=NOW)) == [2, 1]
    assert numbers(turn(1, since=NOW - 1_200), turn(2, "till", priority=1, since=NOW)) == [1, 2]


def test_the_scheduler_grants_in_that_order() -> None:
    waiting = [turn(1), turn(2), turn(3, "till"), turn(4, "desk", priority=1), turn(5, "till"), turn(6, top_since=NOW)]
    scheduler, granted = Scheduler(), list[Grant]()
    scheduler.resize("tasks", 1)
    for request in waiting:
        scheduler.ask(request)
    while len(granted) < len(waiting):
        (grant,) = scheduler.decide(NOW + 100)
        granted.append(grant)
        scheduler.release(grant.request.id)
    assert [grant.request for grant in granted] == in_order(waiting, [], NOW + 100)


def test_who_waits_alone_has_no_place() -> None:
    assert told(1) == []
    order = [turn(1), turn(2)]
    assert places(order, {order[0].id: "tag/shop", order[1].id: "tasks"}) == {}


def test_those_before_one_are_named_the_nearest_three_of_them() -> None:
    assert told(6) == [
        "1st of 6 that wait for their turn",
        "2nd of 6 that wait for their turn, after task 1",
        "3rd of 6 that wait for their turn, after task 1, task 2",
        "4th of 6 that wait for their turn, after task 1, task 2, task 3",
        "5th of 6 that wait for their turn, after task 2, task 3, task 4 and 1 more",
        "6th of 6 that wait for their turn, after task 3, task 4, task 5 and 2 more",
    ]


@pytest.mark.parametrize(("number", "text"), [(11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (111, "111th")])
def test_ordinals_are_those_of_english(number: int, text: str) -> None:
    assert told(number)[-1].startswith(f"{text} of {number} ")


def test_what_is_waited_for_is_named() -> None:
    order = [turn(1, id=RequestId("task/1/ship#1")), turn(2, id=RequestId("task/2/build#1"))]
    for thing, words in (
        ("pool/linux", "the pool linux"),
        ("mutex/db", "the mutex db"),
        ("tag/x", "the concurrency tag x"),
    ):
        found = places(order, {request.id: thing for request in order})
        assert list(found.values()) == [
            f"1st of 2 that wait for {words}",
            f"2nd of 2 that wait for {words}, after ship of task 1",
        ]
