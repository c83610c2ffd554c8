"""Whatever is rehearsed: slots, tags and locks hold, durations add up, and the same comes out each time."""

from collections import defaultdict
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Slot, StepState, TaskState
from reconciler.model.work import Step
from reconciler.schedule import usage
from reconciler.schedule.asking import step_request, turn_request
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.lasting import Lasting, in_words
from reconciler.schedule.placement import PoolChoice
from reconciler.schedule.rehearsal import Course, Part, Process, RehearsedTask, Soak, TaskCourse, rehearse
from reconciler.schedule.supposed import Resize, enabled, healthy, resized
from reconciler.schedule.usage import Waits

POOLS = ("east", "west")


def fleet(slots: dict[str, list[int | None]], attempts_max: int | None = None) -> Fleet:
    """Return pools with a worker for each number of slots."""
    workers = {
        f"{pool}-{number}": Member(f"{pool}-{number}", (pool,), "polling", slots=each)
        for pool, found in slots.items()
        for number, each in enumerate(found, 1)
    }
    pools = {
        pool: Pool(pool, workers=tuple(name for name in workers if name.startswith(pool)), attempts_max=attempts_max)
        for pool in slots
    }
    return healthy(Fleet(pools, workers))


def step(name: str = "Work", **fields: object) -> Step:
    return Step.model_validate({"name": name, "script": {"body": ""}, **fields})


def part(found: Step, slot: Slot, pool: str = "east", *, fails: bool = False) -> Part:
    choice = PoolChoice(pool, "it is named")
    return Part(found, step_request(found, ExecutionLocationSpec(), choice, slot, priority=0), fails=fails)


def task(
    number: int,
    *parts: Part,
    seconds: tuple[float, ...],
    slot: Slot,
    tag: str | None = None,
    after: tuple[Soak, ...] = (),
) -> RehearsedTask:
    turn = turn_request(number, slot, tag, priority=0, since=number * 1e-6)
    return RehearsedTask(f"task-{number}", turn, Process(parts, 10), seconds, after)


def simple(
    number: int, seconds: float, *, pool: str = "east", tag: str | None = None, **fields: object
) -> RehearsedTask:
    """Return a task of one step in an environment of its own."""
    slot = Slot("shop", f"e{number}")
    return task(number, part(step(**fields), slot, pool), seconds=(seconds,), slot=slot, tag=tag)


@st.composite
def workloads(draw: st.DrawFn) -> tuple[Fleet, list[RehearsedTask], int]:
    slots = {pool: draw(st.lists(st.sampled_from((1, 1, 2, 3)), min_size=1, max_size=3)) for pool in POOLS}
    tasks = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        slot = Slot(draw(st.sampled_from(("shop", "blog"))), f"e{number}")
        parts = tuple(
            part(
                step(
                    f"Step {index}",
                    start=draw(st.sampled_from(("afterPrevious", "withPrevious"))),
                    isolation=draw(st.sampled_from((None, None, "exclusive"))),
                    mutex=draw(st.sampled_from((None, None, {"name": "db"}, {"name": "m", "scope": "machine"}))),
                ),
                slot,
                draw(st.sampled_from(POOLS)),
            )
            for index in range(draw(st.integers(1, 4)))
        )
        seconds = tuple(draw(st.sampled_from((0.0, 1.0, 2.5, 10.0))) for _ in parts)
        others = st.sets(st.integers(0, number - 2), max_size=2) if number > 1 else st.just(set())
        after = tuple(Soak(other, draw(st.sampled_from((0.0, 3.0)))) for other in sorted(draw(others)))
        tag = draw(st.sampled_from((None, None, "one")))
        tasks.append(task(number, *parts, seconds=seconds, slot=slot, tag=tag, after=after))
    return fleet(slots), tasks, draw(st.integers(1, 6))


def spans(course: Course) -> Iterator[tuple[TaskCourse, Part, str, float, float]]:
    """Yield each attempt: its task, its part, its worker, when it began and ended."""
    for found in course.tasks:
        for each, one in zip(found.task.process.parts, found.steps, strict=True):
            if one.worker:
                assert one.began is not None
                assert one.ended is not None
                yield found, each, one.worker, one.began, one.ended


def most_at_once(found: list[tuple[float, float]]) -> int:
    """Return how many of some spans overlap at most; what ends at a moment makes room for what begins then."""
    moments = sorted(
        [(end, -1) for begin, end in found if end > begin] + [(begin, 1) for begin, end in found if end > begin]
    )
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


@given(workloads())
@settings(max_examples=300, deadline=None)
def test_bounds_hold_and_everything_ends(workload: tuple[Fleet, list[RehearsedTask], int]) -> None:
    on, tasks, tasks_max = workload
    course = rehearse(on, tasks, tasks_max=tasks_max)
    assert {found.state for found in course.tasks} == {TaskState.SUCCEEDED}
    on_workers, locks, tags = defaultdict(list), defaultdict(list), defaultdict(list)
    for found, each, worker, began, ended in spans(course):
        on_workers[worker].append((began, ended, each.request.exclusive))
        for claim in each.request.claims:
            if claim.alone:
                locks[claim.resource].append((began, ended))
        for lock in each.request.machine_claims:
            locks[worker, lock].append((began, ended))
        assert found.began <= began <= ended <= found.ended
    for found in course.tasks:
        tags[next(claim.resource for claim in found.task.turn.claims if claim.alone)].append((found.began, found.ended))
    for worker, ran in on_workers.items():
        assert most_at_once([(begin, end) for begin, end, _ in ran]) <= on.workers[worker].slots
        for begin, end, exclusive in ran:
            beside = [other for other in ran if other[0] < end and begin < other[1]]
            assert not exclusive or begin == end or len(beside) == 1
    assert all(most_at_once(held) <= 1 for held in (*locks.values(), *tags.values()))
    assert most_at_once([(found.began, found.ended) for found in course.tasks]) <= tasks_max
    for found in course.tasks:
        assert all(found.began >= course.tasks[soak.task].ended + soak.seconds for soak in found.task.after)


@given(workloads())
@settings(max_examples=50, deadline=None)
def test_the_same_is_rehearsed_twice_alike(workload: tuple[Fleet, list[RehearsedTask], int]) -> None:
    on, tasks, tasks_max = workload
    assert repr(rehearse(on, tasks, tasks_max=tasks_max)) == repr(rehearse(on, tasks, tasks_max=tasks_max))


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(1, 12))
def test_on_one_worker_of_one_slot_durations_add_up(seconds: list[int], tasks_max: int) -> None:
    tasks = [simple(number, float(each)) for number, each in enumerate(seconds, 1)]
    assert rehearse(fleet({"east": [1]}), tasks, tasks_max=tasks_max).makespan == sum(seconds)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 6), st.integers(1, 12))
def test_more_workers_never_lengthen_equal_independent_tasks(
    count: int, workers: int, more: int, tasks_max: int
) -> None:
    tasks = [simple(number, 10.0) for number in range(1, count + 1)]
    on = fleet({"east": [1] * workers})
    few = rehearse(on, tasks, tasks_max=tasks_max).makespan
    many = rehearse(resized(on, Resize("east", more)), tasks, tasks_max=tasks_max).makespan
    assert many <= few
    assert few == 10.0 * -(-count // min(workers, tasks_max))


def test_the_cap_of_a_pool_holds() -> None:
    tasks = [simple(number, 10.0) for number in range(1, 5)]
    course = rehearse(fleet({"east": [1, 1, 1, 1]}, attempts_max=2), tasks)
    assert course.makespan == 20.0
    assert course.peaks == {"east": 2}


def test_tasks_of_one_tag_run_one_after_the_other() -> None:
    course = rehearse(fleet({"east": [None]}), [simple(number, 10.0, tag="one") for number in range(1, 4)])
    assert [(found.began, found.ended) for found in course.tasks] == [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]
    assert [found.waited for found in course.tasks] == [0.0, 10.0, 20.0]


def test_steps_of_a_task_prefer_the_worker_that_it_leases() -> None:
    slot = Slot("shop", "test")
    parts = [part(step(f"Step {index}"), slot) for index in range(4)]
    course = rehearse(fleet({"east": [2, 2]}), [task(1, *parts, seconds=(1.0,) * 4, slot=slot)])
    assert {one.worker for one in course.tasks[0].steps} == {"east-1"}


def test_who_fails_is_followed_by_what_is_for_failures() -> None:
    slot = Slot("shop", "test")
    parts = (
        part(step("Work"), slot, fails=True),
        part(step("Go on"), slot),
        part(step("Clean up", condition="failure"), slot),
        part(step("Tell", condition="always"), slot),
    )
    follower = task(2, part(step(), Slot("shop", "e2")), seconds=(1.0,), slot=Slot("shop", "e2"), after=(Soak(0),))
    first, second = rehearse(fleet({"east": [1]}), [task(1, *parts, seconds=(5.0,) * 4, slot=slot), follower]).tasks
    assert [run.state for run in first.runs] == [
        *(StepState.FAILED, StepState.SKIPPED, StepState.SUCCEEDED, StepState.SUCCEEDED)
    ]
    assert (first.state, first.reason, first.ended) == (TaskState.FAILED, '"Work" failed', 15.0)
    assert (second.state, second.ended, second.reason) == (
        *(TaskState.QUEUED, None, "task-1 has not succeeded before it"),
    )


def test_a_task_that_waits_for_a_person_leaves_its_place_and_its_worker_to_others() -> None:
    slot = Slot("shop", "test")
    ask = Part(Step.model_validate({"name": "Ask", "manual": {"instructions": "?"}}))
    asking = task(1, part(step("First"), slot), ask, part(step("Last"), slot), seconds=(10.0, 15.0, 10.0), slot=slot)
    first, second, third = rehearse(fleet({"east": [1]}), [asking, simple(2, 10.0), simple(3, 10.0)], tasks_max=1).tasks
    assert (second.began, second.ended) == (10.0, 20.0)
    assert (third.began, third.ended) == (20.0, 30.0)
    assert [(one.began, one.ended) for one in first.steps] == [(0.0, 10.0), (10.0, 25.0), (30.0, 40.0)]
    assert first.ended == 40.0


def test_a_step_that_nobody_can_take_holds_its_task_for_ever_and_says_why() -> None:
    slot = Slot("shop", "test")
    course = rehearse(
        fleet({"east": [1]}), [task(1, part(step(selector={"zone": "n"}), slot), seconds=(1.0,), slot=slot)]
    )
    assert course.tasks[0].ended is None
    assert course.tasks[0].reason == "no worker of the pool east can take it: east-1 does not bear the label zone=n"


def test_a_step_that_is_left_out_takes_no_time() -> None:
    slot = Slot("shop", "test")
    parts = Part(step("Off"), left_out="is disabled"), part(step("On"), slot)
    course = rehearse(fleet({"east": [1]}), [task(1, *parts, seconds=(100.0, 1.0), slot=slot)])
    assert course.makespan == 1.0


# A fleet as it would be.


def test_new_workers_are_like_the_first_of_their_pool() -> None:
    on = resized(fleet({"east": [2, 1]}), Resize("east", 2))
    assert [(member.name, member.slots) for member in enabled(on, "east")] == [
        *(("east-1", 2), ("east-2", 1), ("east-new-1", 2), ("east-new-2", 2))
    ]
    again = resized(on, Resize("east", 1))
    assert [member.name for member in enabled(again, "east")][-1] == "east-new-3"


def test_the_last_workers_by_name_leave_first_and_stay_in_other_pools() -> None:
    on = fleet({"east": [1, 1, 1]})
    assert [member.name for member in enabled(resized(on, Resize("east", -2)), "east")] == ["east-1"]
    assert resized(on, Resize("east", 1, is_exact=True)).workers["east-3"].pools == ()


def test_a_disabled_worker_stays_out() -> None:
    member = Member("east-1", ("east",), "polling", state="disabled")
    on = healthy(Fleet({"east": Pool("east", workers=("east-1",))}, {"east-1": member}))
    assert enabled(on, "east") == []
    assert on.workers["east-1"] == member


@pytest.mark.parametrize(
    ("resize", "words"),
    [
        (Resize("web", 2), "2 more workers in web"),
        (Resize("web", 1), "1 more worker in web"),
        (Resize("web", -1), "1 fewer worker in web"),
        (Resize("web", 3, is_exact=True), "3 workers in web"),
        (Resize("web", 0, is_exact=True), "no workers in web"),
    ],
)
def test_a_change_has_words(resize: Resize, words: str) -> None:
    assert resize.words == words


# Figures.


def test_usage_is_the_share_of_all_the_time_that_slots_had() -> None:
    on = fleet({"east": [1, 1], "west": [None]})
    courses = [rehearse(on, [simple(1, 10.0), simple(2, 5.0), simple(3, 2.0, pool="west")])]
    east, west = usage.pools(on, courses)
    assert (east.name, east.workers, east.slots, east.attempts, east.peak, east.share) == ("east", 2, 2, 2, 2, 0.75)
    assert (west.name, west.slots, west.seconds, west.share) == ("west", None, 2.0, None)
    assert [(one.name, one.share) for one in usage.workers(on, courses)] == [
        *(("east-1", 1.0), ("east-2", 0.5), ("west-1", None))
    ]


def test_waits_are_told_by_project() -> None:
    courses = [rehearse(fleet({"east": [1]}), [simple(number, 10.0) for number in (1, 2, 3)])]
    assert usage.step_waits(courses, "shop") == Waits(3, 10.0, 19.0, 20.0)
    assert usage.task_waits(courses) == Waits(3, 0.0, 0.0, 0.0)
    assert usage.step_waits(courses, "blog") == Waits()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers())
def test_a_duration_lies_within_those_it_is_drawn_from(seconds: list[float], seed: int) -> None:
    found = Lasting(tuple(sorted(seconds)))
    drawn = found.at(Random(seed).random())
    assert found.seconds[0] <= drawn <= found.seconds[-1] or pytest.approx(drawn) in (
        found.seconds[0],
        found.seconds[-1],
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0s"), (0.0004, "0s"), (0.25, "250ms"), (0.9996, "1s"), (4.25, "4.2s"), (30, "30s"), (59.96, "1m")),
        *((90, "1m30s"), (3_599.6, "1h"), (7_500, "2h5m"), (90_000, "25h")),
    ],
)
def test_spans_are_written_as_declarations_write_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
