"""Grants are spread over the values that a label has now, whatever it was when they were made."""

from reconciler.model.live import WorkerHealth
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.requests import Needs, Request, RequestId
from reconciler.schedule.scheduler import Scheduler
from tests.schedule.test_scheduler import status


def fleet(**zones: str) -> Fleet:
    workers = {
        name: Member(name, ("pool",), "polling", labels={"zone": zone}, status=status(name, WorkerHealth.HEALTHY))
        for name, zone in zones.items()
    }
    return Fleet({"pool": Pool("pool", workers=tuple(workers))}, workers, "pool")


def asked(number: int) -> Request:
    return Request(
        RequestId(f"1/1#{number}"), "shop", 0.0, 1, needs=Needs(pool="pool", environment="live"), spread="zone"
    )


def granted(scheduler: Scheduler) -> list[str]:
    return [grant.machine for grant in scheduler.decide(1.0)]


def test_a_machine_that_moved_counts_where_it_is_now() -> None:
    scheduler = Scheduler()
    scheduler.see_fleet(fleet(w1="north", w2="south"))
    scheduler.ask(asked(1))
    assert granted(scheduler) == ["w1"]
    scheduler.see_fleet(fleet(w1="south", w2="north"))
    scheduler.ask(asked(2))
    assert granted(scheduler) == ["w2"]


def test_a_machine_that_moved_gives_back_what_it_counted_for() -> None:
    scheduler = Scheduler()
    scheduler.see_fleet(fleet(w1="north", w2="south"))
    scheduler.ask(asked(1))
    assert granted(scheduler) == ["w1"]
    scheduler.see_fleet(fleet(w1="south", w2="south"))
    scheduler.release(RequestId("1/1#1"))
    scheduler.see_fleet(fleet(w1="north", w2="south"))
    scheduler.ask(asked(2))
    assert granted(scheduler) == ["w1"]
