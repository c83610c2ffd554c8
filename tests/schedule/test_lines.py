"""Lines that wait for two things at once stand in the queue twice and are served once."""

from reconciler.schedule.lines import Line, Queue
from reconciler.schedule.requests import Request, RequestId
from reconciler.schedule.turns import Turns

NOW = 100.0


def asked(name: str, since: float) -> Request:
    return Request(RequestId(name), "shop", since)


def test_a_line_that_was_pushed_twice_and_served_is_not_served_again() -> None:
    turns, first = Turns(), asked("task/1", 1.0)
    line = Line(1, "key", None, turns, first)
    line.add(first)
    queue = Queue([line], NOW)
    queue.push(line)
    assert queue.pop() is not None
    line.remove(first.id)
    line.served(NOW)
    assert queue.pop() is None


def test_a_line_stands_where_its_next_request_does_after_it_was_served() -> None:
    turns, first, late, other = Turns(), asked("task/1", 1.0), asked("task/9", 9.0), asked("task/5", 5.0)
    line, beside = Line(1, "key", None, turns, first), Line(2, "another", None, turns, other)
    line.add(first)
    line.add(late)
    beside.add(other)
    queue = Queue([line, beside], NOW)
    queue.push(line)
    assert queue.pop() is not None
    line.remove(first.id)
    line.served(NOW)
    queue.push(line)
    order = []
    while (found := queue.pop()) is not None:
        order.append(found[0].head.id)
        queue.put_off(found[0])
    assert order == ["task/5", "task/9"]
