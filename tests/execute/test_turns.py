"""Which tasks start: by priority, in order, never two of a slot or tag, and no more than may."""

import asyncio
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from reconciler.execute.leasing import Leasing
from reconciler.execute.turns import Turns, take_turns, turn_of
from reconciler.model.live import Slot, Task, TaskId, TaskState
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.queue import TASKS_MAX, Waits

PEOPLE = TaskState.AWAITING_INTERVENTION


def task(
    number: int, project: str = "", state: TaskState = TaskState.QUEUED, *, priority: int = 0, tenant: str | None = None
) -> Task:
    slot = Slot(project or f"p{number}", "staging", tenant)
    return Task(TaskId(number), slot.project, slot, "1", "", "", "", state, priority)


def running(number: int, project: str = "", state: TaskState = TaskState.RUNNING) -> Task:
    return task(number, project, state)


def decide(
    queued: Sequence[Task],
    active: Sequence[Task],
    conditions: Mapping[TaskId, Waits],
    tags: Mapping[TaskId, str],
    *,
    tasks_max: int = TASKS_MAX,
) -> Turns:
    leasing = Leasing(tasks_max)
    for one in active:
        leasing.begin(turn_of(one, tags), rests=one.state is PEOPLE)
    return take_turns(leasing, queued, active, conditions, tags, wake=asyncio.Event())


def begun(turns: Turns) -> tuple[TaskId, ...]:
    return tuple(one.id for one in turns.begin)


def test_tasks_start_in_the_order_of_their_queueing() -> None:
    assert begun(decide([task(3), task(1), task(2)], [], {}, {})) == (1, 2, 3)


def test_a_quota_of_the_space_lowers_the_bound_of_the_server_and_never_raises_it() -> None:
    leasing, queue = Leasing(3), [task(number) for number in range(1, 6)]
    leasing.follow(Fleet({}, {}, task_quota=2))
    turns = take_turns(leasing, queue, [], {}, {}, wake=asyncio.Event())
    assert begun(turns) == (1, 2)
    assert turns.waiting[TaskId(3)] == Waits("2 tasks run already, as many as may")
    leasing.follow(Fleet({}, {}, task_quota=50))
    turns = take_turns(leasing, queue[2:], queue[:2], {}, {}, wake=asyncio.Event())
    assert begun(turns) == (3,)
    assert turns.waiting[TaskId(4)] == Waits("3 tasks run already, as many as may")


def test_a_higher_priority_goes_first() -> None:
    assert begun(decide([task(1), task(2, priority=5), task(3, priority=-1)], [], {}, {})) == (2, 1, 3)


def test_no_more_start_than_may_run_at_a_time() -> None:
    decision = decide([task(number) for number in range(1, 8)], [running(8), running(9)], {}, {})
    assert begun(decision) == (1, 2, 3)
    assert decision.waiting == {number: Waits("5 tasks run already, as many as may") for number in (4, 5, 6, 7)}
    assert TASKS_MAX == 5


def test_a_task_that_waits_for_a_person_leaves_its_place_to_another() -> None:
    people = [running(number, state=PEOPLE) for number in (10, 11, 12, 13, 14)]
    assert len(decide([task(number) for number in range(1, 8)], people, {}, {}).begin) == TASKS_MAX


def test_two_tasks_of_one_slot_never_run_at_once() -> None:
    decision = decide([task(2, "shop"), task(3, "shop"), task(4, "blog")], [running(1, "shop")], {}, {})
    assert begun(decision) == (4,)
    assert decision.waiting == {
        2: Waits("task 1 of shop in staging has not ended", on=TaskId(1)),
        3: Waits("task 1 of shop in staging has not ended", on=TaskId(1)),
    }


def test_a_task_that_waits_for_a_person_still_holds_its_slot() -> None:
    assert begun(decide([task(2, "shop")], [running(1, "shop", PEOPLE)], {}, {})) == ()


def test_of_two_that_are_queued_for_a_slot_the_first_starts_and_the_other_waits_for_it() -> None:
    decision = decide([task(2, "shop"), task(1, "shop")], [], {}, {})
    assert begun(decision) == (1,)
    assert decision.waiting[TaskId(2)].on == 1


def test_tenants_have_slots_of_their_own() -> None:
    tasks = [task(1, "shop", tenant="acme"), task(2, "shop", tenant="zeta"), task(3, "shop")]
    assert begun(decide(tasks, [], {}, {})) == (1, 2, 3)


def test_tasks_with_one_tag_never_run_at_once_whatever_they_deploy() -> None:
    tags = {TaskId(1): "database", TaskId(2): "database"}
    decision = decide([task(2, "blog"), task(3, "other")], [running(1, "shop")], {}, tags)
    assert begun(decision) == (3,)
    assert decision.waiting[TaskId(2)] == Waits("task 1 of shop in staging has not ended", on=TaskId(1))


def test_a_tag_takes_the_place_of_the_slot() -> None:
    tags = {TaskId(1): "one", TaskId(2): "two"}
    assert begun(decide([task(1, "shop"), task(2, "shop")], [], {}, tags)) == (1, 2)


def test_a_task_that_waits_is_skipped_and_holds_nobody_up() -> None:
    waits = Waits("staging has not ended", on=TaskId(9))
    decision = decide([task(1, "shop"), task(2, "shop"), task(3)], [], {TaskId(1): waits}, {})
    assert begun(decision) == (2, 3)
    assert decision.waiting == {1: waits}


numbers = st.integers(1, 30)
projects = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(numbers, st.tuples(projects, st.integers(-1, 1)), max_size=12),
    st.dictionaries(st.integers(31, 40), projects, max_size=4),
    st.dictionaries(numbers, st.sampled_from(["x", "y"]), max_size=4),
    st.sets(numbers),
    st.integers(0, 6),
)
def test_whatever_is_queued_the_rules_hold(
    queue: dict[int, tuple[str, int]], busy: dict[int, str], tagged: dict[int, str], blocked: set[int], most: int
) -> None:
    tasks = [task(number, project, priority=priority) for number, (project, priority) in queue.items()]
    active = [running(number, project) for number, project in busy.items()]
    tags = {TaskId(number): tag for number, tag in tagged.items()}
    conditions = {TaskId(number): Waits("it waits") for number in blocked & queue.keys()}
    decision = decide(tasks, active, conditions, tags, tasks_max=most)
    started = [found for found in tasks if found.id in begun(decision)]

    assert {*begun(decision)} | decision.waiting.keys() == {found.id for found in tasks}
    assert not {*begun(decision)} & decision.waiting.keys()
    assert not begun(decision) or len(started) + len(active) <= most
    held = [
        tags.get(found.id, found.slot.project)
        for found in (*started, *({item.slot.project: item for item in active}.values()))
    ]
    assert len(held) == len(set(held))
    for waiting in tasks:
        if waiting.id in decision.waiting and waiting.id not in conditions and len(started) + len(active) < most:
            assert tags.get(waiting.id, waiting.slot.project) in held
    assert decision == decide(tasks[::-1], active, conditions, tags, tasks_max=most)
