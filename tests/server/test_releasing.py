"""What a lost attempt holds alone stays held until its end is known, or until a person says that nothing of it runs."""

import time
from pathlib import Path

import pytest

from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import AttemptState, TaskId, TaskState
from reconciler.schedule.explain import LOST
from reconciler.schedule.requests import Claim
from reconciler.server.answers.reasons import reasons
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.server.orders.orders import Release
from reconciler.server.orders.releasing import carry_out_release
from reconciler.store import attempts, audit, claims, leaving
from tests.execute.test_leasing import engine, queue, state, step, worker

LOCK = {"mutex": {"name": "db"}}


def test_what_is_said_of_a_lost_holder() -> None:
    assert (
        LOST
        == ", which was given up and may still run; where it cannot, `reconcile why task/{task}` says how that is freed"
    )


async def test_a_person_frees_what_was_lost_and_whoever_waits_runs(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("work", **LOCK))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            one = stage.live()["1:work"]
            with pytest.raises(Conflict) as refused:
                store.write_now(lambda tx: carry_out_release(tx, Release("ada", "w1", "it burnt"), 1.0))
            assert refused.value.message == f"{one.ticket} may still run: nobody has given it up"
            assert refused.value.hint == "`reconcile cancel` ends what runs; what is silent is given up after lostAfter"
            run = stage.dispatcher._runs[TaskId(1)]
            store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLING)
            run._cancelled_at = 0.0  # as if it had waited for the worker for long
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.ABANDONED)
            stage.add("b", step("work", **LOCK))
            await stage.until_waits(2, "work", f"the mutex db is held by work of task 1{LOST.format(task=1)}")
            how = f"it may still run; where it cannot, free what it holds: reconcile release {one.ticket} --reason TEXT"
            assert f"      {how}" in store.read_now(lambda tx: list(reasons(tx, "task/1")))
            assert store.write_now(lambda tx: leaving.keep(tx, "w1", "{}"))
            done = store.write_now(lambda tx: carry_out_release(tx, Release("ada", "w1", "it\nburnt"), time.time()))
            assert done.message == f"released what was held by {one.ticket} on w1"
            assert one.ticket not in store.read_now(claims.held)
            assert store.read_now(leaving.leaving) == {}
            assert f"      {how}" not in store.read_now(lambda tx: list(reasons(tx, "task/1")))
            stage.dispatcher.wake()
            await stage.until_run("2:work")
        ended = store.read_now(lambda tx: attempts.attempt(tx, one.ticket))
        assert ended is not None
        assert (ended.state, "released by ada: it burnt" in ended.ending) == (AttemptState.ENDED, True)
        (event,) = store.read_now(lambda tx: audit.events(tx, subject=f"task/{one.task}"))[-1:]
        assert (event.action, event.actor, event.detail) == ("release", "ada", f"{one.ticket} on w1: it burnt")


async def test_an_attempt_is_released_by_its_name_and_once(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("work", **LOCK))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            one = stage.live()["1:work"]
        store.write_now(lambda tx: attempts.lose(tx, one.ticket, 1.0))
        assert Claim("mutex/db", alone=True) in store.read_now(claims.held)[one.ticket]
        order = Release("ada", one.ticket, "it burnt")
        store.write_now(lambda tx: carry_out_release(tx, order, time.time()))
        assert one.ticket not in store.read_now(claims.held)
        assert not store.read_now(lambda tx: attempts.live(tx, TaskId(1)))
        with pytest.raises(UsageMistake) as refused:
            store.write_now(lambda tx: carry_out_release(tx, order, time.time()))
        assert refused.value.message == f'nothing is held by an attempt "{one.ticket}", or on a worker of that name'
        assert refused.value.hint == "`reconcile why task/NUMBER`, of the task that holds it, names the attempt"
