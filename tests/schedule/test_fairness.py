"""A flood of one project holds up nobody longer than is stated."""

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.live import WorkerHealth
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.requests import Claim, Needs, Request, RequestId
from reconciler.schedule.scheduler import VIEWS_MAX, Scheduler
from reconciler.schedule.turns import AGEING
from tests.schedule.test_scheduler import status

HEALTHY = status("w1", WorkerHealth.HEALTHY)


def task(number: int, project: str, *, since: float = 0.0, priority: int = 0) -> Request:
    return Request(RequestId(f"task/{number}"), project, since, number, claims=(Claim("tasks"),), priority=priority)


def test_five_thousand_of_one_project_delay_one_of_another_by_no_grant_but_the_one_that_runs() -> None:
    scheduler = Scheduler()
    scheduler.resize("tasks", 1)
    for number in range(1, 5_001):
        scheduler.ask(task(number, "flood"))
    assert [grant.request.task for grant in scheduler.decide(1.0)] == [1]
    scheduler.ask(task(9_999, "single", since=1.0))
    scheduler.release(RequestId("task/1"))
    assert [grant.request.task for grant in scheduler.decide(1.0)] == [9_999]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 40),
)
def test_whoever_can_run_sees_at_most_one_grant_to_each_other_project(
    floods: list[int], room: int, passed: int
) -> None:
    scheduler, count = Scheduler(), 0
    scheduler.resize("tasks", room)
    for project, many in enumerate(floods):
        for _ in range(many):
            count += 1
            scheduler.ask(task(count, f"p{project}"))
    running = [grant.request.id for grant in scheduler.decide(1.0)]
    for _ in range(passed):
        if running:
            scheduler.release(running.pop(0))
            running += [grant.request.id for grant in scheduler.decide(1.0)]
    scheduler.ask(task(9_999, "single", since=1.0))
    grants = scheduler.decide(1.0)
    seen: list[str] = [grant.request.project for grant in grants]
    while "single" not in seen:
        scheduler.release(running.pop(0))
        fresh = scheduler.decide(1.0)
        running += [grant.request.id for grant in fresh]
        seen += [grant.request.project for grant in fresh]
    others = seen[: seen.index("single")]
    assert len(others) == len(set(others)), "nobody was served twice before it"
    assert len(others) <= len(floods)


def test_a_low_priority_rises_one_step_each_ten_minutes() -> None:
    scheduler, now = Scheduler(), 0.0
    scheduler.resize("tasks", 1)
    scheduler.ask(task(1, "low"))
    number = 1
    granted: list[str] = []
    while "low" not in granted:
        number += 1
        scheduler.ask(task(number, "high", since=now, priority=3))
        found = scheduler.decide(now)
        granted += [grant.request.project for grant in found]
        now += 60.0
        for grant in found:
            scheduler.release(grant.request.id)
    assert 3 * AGEING <= now <= 3 * AGEING + 180.0


def test_an_exclusive_request_does_not_starve_behind_shared_ones() -> None:
    scheduler = Scheduler()
    member = Member("w1", ("omaha",), "polling", status=HEALTHY)
    scheduler.see_fleet(Fleet({"omaha": Pool("omaha", workers=("w1",))}, {"w1": member}))
    needs, running, number, waited = Needs("omaha"), [], 0, 0
    alone = Request(RequestId("task/0/alone"), "one", 2.5, needs=needs, exclusive=True)
    while True:
        number += 1
        scheduler.ask(Request(RequestId(f"task/{number}/work"), "other", float(number), number, needs=needs))
        if number == 3:
            scheduler.ask(alone)
        found = scheduler.decide(float(number))
        if alone in [grant.request for grant in found]:
            break
        waited += number > 3
        running += [grant.request.id for grant in found]
        scheduler.release(running.pop(0))
    assert waited <= 3


def test_needs_that_nobody_has_any_more_are_forgotten() -> None:
    scheduler = Scheduler()
    member = Member("w1", ("omaha",), "polling", status=HEALTHY, slots=1)
    fleet = Fleet({"omaha": Pool("omaha", workers=("w1",))}, {"w1": member})
    scheduler.see_fleet(fleet)
    for number in range(VIEWS_MAX + 1):
        needs = Needs("omaha", environment=f"e{number}")
        scheduler.ask(Request(RequestId(f"task/{number}/work"), "shop", float(number), number, needs=needs))
        scheduler.decide(float(number))
        if number:
            scheduler.withdraw(RequestId(f"task/{number}/work"))
    scheduler.see_fleet(fleet)
    machine = scheduler._held.machines["w1"]
    assert machine.views == []
    scheduler.ask(Request(RequestId("task/0/next"), "shop", 0.0, 1, needs=Needs("omaha", environment="e1")))
    scheduler.release(RequestId("task/0/work"))
    assert [grant.machine for grant in scheduler.decide(1.0)] == ["w1"]
