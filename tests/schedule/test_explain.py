"""Why a request waits, in words that are true: what is in the way, and one before it only where there is one."""

from dataclasses import replace

from reconciler.schedule.fleet import Fleet, Former, Member, Pool
from reconciler.schedule.requests import Claim, Needs, Request, RequestId
from reconciler.schedule.scheduler import Scheduler

LOCK = Claim("mutex/db", alone=True)
NOBODY = "no worker of the pool p has room for it: w1 "
BEFORE = "one that is before it waits for the same"


def asked(number: int, *claims: Claim, exclusive: bool = False) -> Request:
    """Return what the step of a task asks for; tasks are in the order of their numbers."""
    return Request(
        RequestId(f"task/{number}/work#1"),
        f"project-{number}",
        float(number),
        number,
        needs=Needs(pool="p"),
        claims=tuple(sorted([Claim("pool/p"), *claims])),
        exclusive=exclusive,
    )


WORKER = Member("w1", ("p",), "polling", expected=True)


def fleet(member: Member = WORKER) -> Fleet:
    return Fleet({"p": Pool("p", workers=("w1",))}, {"w1": member})


def reasons(*requests: Request) -> dict[int, str]:
    """Ask one after the other; return why those wait that are not granted on the one worker."""
    scheduler = Scheduler()
    scheduler.see_fleet(fleet())
    granted = set()
    for request in requests:
        scheduler.ask(request)
        granted |= {grant.request.id for grant in scheduler.decide(1000.0)}
    return {request.task: scheduler.wait(request.id).reason for request in requests if request.id not in granted}


def test_who_would_run_alone_behind_a_script_is_told_of_the_script_and_not_of_a_lock_that_is_free() -> None:
    assert reasons(asked(1), asked(2, LOCK, exclusive=True)) == {2: f"{NOBODY}runs 1 attempt, and it would run alone"}


def test_who_could_run_but_for_one_before_it_that_waits_for_the_same_lock_is_told_so() -> None:
    assert reasons(asked(1), asked(2, LOCK, exclusive=True), asked(3, LOCK)) == {
        2: f"{NOBODY}runs 1 attempt, and it would run alone",
        3: BEFORE,
    }


def test_who_shares_what_one_before_it_waits_to_have_alone_is_told_so() -> None:
    shared = Claim(LOCK.resource)
    assert reasons(asked(1, shared), asked(2, LOCK), asked(3, shared)) == {
        2: "the mutex db is in use by 1",
        3: BEFORE,
    }


def test_who_has_a_lock_to_take_and_a_worker_that_is_kept_is_told_of_the_worker() -> None:
    assert reasons(asked(1), asked(2, exclusive=True), asked(3, LOCK)) == {
        2: f"{NOBODY}runs 1 attempt, and it would run alone",
        3: f"{NOBODY}is kept for one before it that would run alone",
    }


def test_who_waits_for_a_worker_that_was_renamed_while_it_works_is_told_what_it_runs_under_which_name() -> None:
    scheduler, busy = Scheduler(), Former("w0", "ship of task 7 (and 1 more)")
    scheduler.see_fleet(fleet(replace(WORKER, former=busy, slots=4)))
    scheduler.ask(asked(1))
    assert scheduler.decide(1000.0) == []
    wait = scheduler.wait(asked(1).id)
    assert wait.reason == f"{NOBODY}still runs ship of task 7 (and 1 more) under its former name w0"
    assert wait.busy
    scheduler.see_machine(WORKER)
    assert [grant.machine for grant in scheduler.decide(1001.0)] == ["w1"]
