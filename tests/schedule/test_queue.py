"""Which tasks can go on by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.live import Slot, Task, TaskId, TaskState
from reconciler.schedule.queue import Waits, circles_told, moves

PEOPLE = TaskState.AWAITING_INTERVENTION


def task(number: int, state: TaskState = TaskState.QUEUED) -> Task:
    slot = Slot(f"p{number}", "staging")
    return Task(TaskId(number), slot.project, slot, "1", "", "", "", state)


def running(number: int, state: TaskState = TaskState.RUNNING) -> Task:
    return task(number, state)


A, B = TaskId(1), TaskId(2)


@pytest.mark.parametrize(
    ("one", "other", "waiting", "people", "expected"),
    [
        (task(1), running(2), {}, False, True),  # it is about to start
        (running(1), running(2), {}, False, True),
        (running(1, state=PEOPLE), running(2), {}, False, False),
        (running(1, state=PEOPLE), running(2), {}, True, True),
        (task(1), running(2), {A: Waits("5 tasks run already, as many as may")}, False, True),
        (task(1), running(2), {A: Waits("it is not declared any more", hopeless=True)}, True, False),
        (task(1), running(2), {A: Waits("2 has not ended", on=B)}, False, True),
        (task(1), running(2, state=PEOPLE), {A: Waits("2 has not ended", on=B)}, False, False),
        (task(1), running(2, state=PEOPLE), {A: Waits("2 has not ended", on=B)}, True, True),
        (task(1), task(2), {A: Waits("2 has not ended", on=B), B: Waits("no", hopeless=True)}, True, False),
        (task(1), task(2), {A: Waits("2 has not ended", on=B), B: Waits("1 has not ended", on=A)}, True, False),
        (task(1), task(2), {A: Waits("3 has ended meanwhile", on=TaskId(3))}, False, True),
        (task(1), task(2), {A: Waits("it waits for itself", on=A)}, True, False),
    ],
)  # fmt: skip
def test_a_task_can_go_on_by_itself(
    one: Task, other: Task, waiting: dict[TaskId, Waits], people: bool, expected: bool
) -> None:
    assert moves(one, {A: one, B: other}, waiting, people=people) is expected


@given(st.dictionaries(st.integers(1, 8), st.integers(1, 8)), st.integers(1, 8), st.booleans())
def test_looking_ahead_ends_however_tasks_wait_for_each_other(edges: dict[int, int], start: int, people: bool) -> None:
    unfinished = {TaskId(number): task(number) for number in range(1, 9)}
    waiting = {TaskId(number): Waits("it waits", on=TaskId(on)) for number, on in edges.items()}
    seen, at = set(), start
    while at in edges and at not in seen:
        seen.add(at)
        at = edges[at]
    assert moves(unfinished[TaskId(start)], unfinished, waiting, people=people) is (at not in edges)


def test_a_circle_of_tasks_is_named_to_each_of_them() -> None:
    one, two, three, four = (TaskId(number) for number in (1, 2, 3, 4))
    waiting = {
        three: Waits("shop has not ended (task 1)", on=one),
        one: Waits("till has not ended (task 2)", on=two),
        two: Waits("web has not ended (task 3)", on=three),
        four: Waits("shop has not ended (task 1)", on=one),
    }
    told = circles_told(waiting)
    circle = "tasks 1, 2, 3 wait for each other in a circle: cancel one of them"
    assert told == {
        three: Waits(f"shop has not ended (task 1); {circle}", on=one, hopeless=True),
        one: Waits(f"till has not ended (task 2); {circle}", on=two, hopeless=True),
        two: Waits(f"web has not ended (task 3); {circle}", on=three, hopeless=True),
        four: waiting[four],
    }


def test_a_task_that_waits_for_itself_is_a_circle() -> None:
    told = circles_told({TaskId(1): Waits("shop has not ended (task 1)", on=TaskId(1))})
    assert told[TaskId(1)].reason == "shop has not ended (task 1); it waits for itself: cancel it"
