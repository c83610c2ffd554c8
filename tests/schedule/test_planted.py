"""Bugs planted in the scheduler are found by the comparison with the slow one."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from reconciler.model.live import WorkerHealth
from reconciler.schedule import scheduler
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.holdings import Holdings, Resource
from reconciler.schedule.machines import Machine, View
from reconciler.schedule.requests import Needs
from reconciler.schedule.scheduler import Scheduler
from reconciler.schedule.turns import Turns
from tests.schedule.test_scheduler import SchedulerMachine, status


def frees_what_is_held_alone(held: Holdings, name: Any) -> None:
    held.release(name)


def forgets_to_wake(held: Holdings, name: Any) -> None:
    before = set(held.woken)
    RELEASE(held, name)
    held.woken = before


def overlooks_slots(machine: Machine) -> None:
    TOUCH(machine)
    if not machine.roomy and machine.alone is None:
        machine.roomy = True
        for view in machine.views:
            view.open += 1
            view.moved[machine] = None


RELEASE, TOUCH = Holdings.release, Machine.touch

PLANTS: list[tuple[str, Any, str, Callable[..., Any]]] = [
    (
        "a capacity is overlooked",
        Resource,
        "admits",
        lambda self, claim: self.alone is None and not (claim.alone and self.used),
    ),
    (
        "who has it alone is overlooked",
        Resource,
        "admits",
        lambda self, claim: self.capacity is None or self.used < self.capacity,
    ),
    ("slots are overlooked", Machine, "touch", overlooks_slots),
    ("what was lost alone becomes free", Holdings, "lose", frees_what_is_held_alone),
    ("a release wakes nobody", Holdings, "release", forgets_to_wake),
    ("a release leaks", Holdings, "release", lambda self, name: None),
    ("leases do not end", Holdings, "end_leases", lambda self, task: None),
    ("a machine is kept for nobody", Scheduler, "_booked", lambda self, line, turn, now: ()),
    ("locks are overtaken", scheduler, "_somebody_before", lambda line, turn, others, now: False),
    ("rounds do not turn", Turns, "serve", lambda self, group, now: None),
    ("the busiest is next", View, "rank", lambda self, machine: (-machine.leases, machine.name)),
]


def a_lease_that_ended_counts_no_more() -> None:
    """Two tasks lease a machine each; the one that was leased later is given up, and is the next."""
    machine = SchedulerMachine()
    workers = {
        name: Member(name, ("pool",), "polling", status=status(name, WorkerHealth.HEALTHY)) for name in ("w1", "w2")
    }
    machine.begin(Fleet({"pool": Pool("pool", workers=("w1", "w2"))}, workers, "pool"))
    needs = Needs(pool="pool", environment="live")
    for task in (1, 2):
        machine.ask({"project": "p", "task": task, "needs": needs, "lease_key": str(task)}, top=False)
        machine.same()
    machine.tell("end_leases", 2)
    machine.ask({"project": "p", "task": 3, "needs": needs}, top=False)
    machine.same()


def test_a_story_holds_without_a_bug() -> None:
    a_lease_that_ended_counts_no_more()


@pytest.mark.parametrize(("where", "name", "bug"), [plant[1:] for plant in PLANTS], ids=[plant[0] for plant in PLANTS])
def test_a_planted_bug_is_found(
    where: Any, name: str, bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, bug)
    quick = settings(
        max_examples=2_000,
        stateful_step_count=40,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        report_multiple_bugs=False,
    )

    def compared() -> None:
        a_lease_that_ended_counts_no_more()
        run_state_machine_as_test(SchedulerMachine, settings=quick)

    with pytest.raises((AssertionError, KeyError)):
        compared()
