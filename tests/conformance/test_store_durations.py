"""Every dialect tells how long steps took: what succeeded, by its last attempt, of the newest tasks."""

from dataclasses import replace

import pytest

from reconciler.model.live import Attempt, AttemptState, StepState, TaskId
from reconciler.store import attempts, durations, tasks
from reconciler.store.database import Transaction
from reconciler.store.durations import step_durations
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps


def ran(store: Store, *seconds: float, state: StepState = StepState.SUCCEEDED) -> tuple[str, str]:
    """Let the first step of a new task be tried once for each of `seconds`; return its project and its id."""

    def work(tx: Transaction) -> tuple[str, str]:
        task = queued_with_steps(tx)
        for number, each in enumerate(seconds, 1):
            attempts.grant(tx, [(granted(task.id, number), "")])
            ticket = granted(task.id, number).ticket
            attempts.ended(tx, [attempts.Ended(ticket, "{}", 100.0 + each, log_length=0, log_digest="")])
        tasks.set_step(tx, task.id, 0, StepState.RUNNING, reason="", at=100.0)
        tasks.set_step(tx, task.id, 0, state, reason="", at=200.0)
        return task.slot.project, tasks.step(tx, task.id, 0).key

    return store.write_now(work)


def granted(task: TaskId, number: int) -> Attempt:
    made = Attempt(f"t{task}-{number}", task, 0, number, "w1", 1, AttemptState.GRANTED, "{}")
    return replace(made, granted_at=100.0)


def test_what_succeeded_counts_by_its_last_attempt(store: Store) -> None:
    assert store.read_now(step_durations) == {}
    key = ran(store, 30.0, 7.5)
    assert ran(store, 5.0) == key
    ran(store, 1.0, state=StepState.FAILED)
    ran(store)
    assert store.read_now(step_durations) == {key: (5.0, 7.5)}


def test_only_the_newest_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (9.0, 3.0, 2.0, 1.0):
        key = ran(store, seconds)
    monkeypatch.setattr(durations, "EACH_MAX", 2)
    assert store.read_now(step_durations) == {key: (1.0, 2.0)}
    monkeypatch.setattr(durations, "TASKS_MAX", 1)
    assert store.read_now(step_durations) == {key: (1.0,)}


def test_a_clock_that_was_set_back_makes_no_negative_time(store: Store) -> None:
    key = ran(store, -5.0)
    assert store.read_now(step_durations) == {key: (0.0,)}
