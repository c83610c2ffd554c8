"""Every dialect queues tasks in order, remembers each slot's last one, and never changes what has ended."""

from dataclasses import replace

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.model.live import Attempt, AttemptState, Slot, StepState, Task, TaskId, TaskState
from reconciler.store import attempts, objects, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.conformance.process import SLOT, queued, queued_with_steps

TASK_ENDS = [state for state in TaskState if state.ended]
STEP_ENDS = [state for state in StepState if state.ended]


def test_what_is_pinned_is_kept_once_under_its_digest(store: Store) -> None:
    digests = {store.write_now(lambda tx: tasks.pin(tx, "größe")) for _ in range(2)}
    assert len(digests) == 1
    assert store.read_now(lambda tx: tasks.pinned(tx, digests.pop())) == "größe"


def test_tasks_are_numbered_from_one_without_gaps(store: Store) -> None:
    def fail(tx: Transaction) -> None:
        queued(tx)
        raise LookupError

    first = store.write_now(queued)
    with pytest.raises(LookupError):
        store.write_now(fail)
    assert [first.id, store.write_now(queued).id] == [1, 2]


def test_a_queued_task_comes_back_as_it_was_queued(store: Store) -> None:
    task = store.write_now(lambda tx: queued(tx, Slot("shop", "production", "acme")))
    assert task == Task(
        id=TaskId(1),
        deployment="shop-production",
        slot=Slot("shop", "production", "acme"),
        release="1.10",
        digest="d1",
        pin=task.pin,
        revision="r1",
        state=TaskState.QUEUED,
        queued_at=10.0,
    )
    assert store.read_now(lambda tx: tasks.task(tx, task.id)) == task


def test_a_task_keeps_the_digests_of_its_process_and_its_variables(store: Store) -> None:
    task = store.write_now(
        lambda tx: tasks.queue(
            tx,
            deployment="shop-production",
            slot=SLOT,
            release="1",
            digest="d",
            pin=tasks.pin(tx, "{}"),
            process="of its process",
            variables="of its variables",
            revision="r",
            at=10.0,
        )
    )
    assert (task.process, task.variables) == ("of its process", "of its variables")
    assert store.read_now(lambda tx: tasks.last_task(tx, SLOT)) == task


def test_an_adopted_task_has_succeeded_without_running(store: Store) -> None:
    task = store.write_now(lambda tx: queued(tx, adopted=True))
    assert (task.state, task.started_at, task.finished_at) == (TaskState.SUCCEEDED, None, 10.0)
    assert store.read_now(tasks.unfinished) == []


def test_an_unknown_task_is_a_mistake_in_words(store: Store) -> None:
    with pytest.raises(UsageMistake, match="there is no task 7"):
        store.read_now(lambda tx: tasks.task(tx, TaskId(7)))


def test_the_last_task_of_a_slot_is_the_last_queued_whatever_became_of_it(store: Store) -> None:
    first = store.write_now(queued)
    other = store.write_now(lambda tx: queued(tx, Slot("shop", "production", "acme")))
    second = store.write_now(lambda tx: queued(tx, digest="d2"))
    store.write_now(lambda tx: tasks.set_state(tx, second.id, TaskState.CANCELLED, "superseded", 11.0))
    store.write_now(lambda tx: tasks.set_state(tx, first.id, TaskState.RUNNING, "", 12.0))
    last = replace(second, state=TaskState.CANCELLED, reason="superseded", finished_at=11.0)
    assert store.read_now(lambda tx: tasks.last_task(tx, SLOT)) == last
    assert store.read_now(tasks.last_tasks) == {other.slot: other, SLOT: last}
    assert store.read_now(lambda tx: tasks.last_task(tx, Slot("none", "such"))) is None


def test_tasks_are_listed_newest_first_and_by_state(store: Store) -> None:
    for _ in range(4):
        store.write_now(queued)
    store.write_now(lambda tx: tasks.set_state(tx, TaskId(2), TaskState.FAILED, "", 1.0))
    store.write_now(lambda tx: tasks.set_state(tx, TaskId(3), TaskState.RUNNING, "", 1.0))

    def listed(limit: int, *states: TaskState) -> list[int]:
        return [task.id for task in store.read_now(lambda tx: tasks.tasks(tx, limit, states or None))]

    assert listed(3) == [4, 3, 2]
    assert listed(9, TaskState.QUEUED, TaskState.FAILED) == [4, 2, 1]
    assert store.read_now(lambda tx: tasks.tasks(tx, 9, ())) == []
    assert [task.id for task in store.read_now(tasks.unfinished)] == [1, 3, 4]


def test_a_task_starts_once_and_ends_once(store: Store) -> None:
    task = store.write_now(queued)
    moves = [(TaskState.RUNNING, 20.0), (TaskState.AWAITING_INTERVENTION, 21.0), (TaskState.RUNNING, 22.0)]
    for state, at in moves:
        assert store.write_now(lambda tx, state=state, at=at: tasks.set_state(tx, task.id, state, "why", at))
    assert store.write_now(lambda tx: tasks.set_state(tx, task.id, TaskState.FAILED, "step failed", 30.0))
    found = store.read_now(lambda tx: tasks.task(tx, task.id))
    assert (found.reason, found.started_at, found.finished_at) == ("step failed", 20.0, 30.0)


@pytest.mark.parametrize("end", TASK_ENDS)
def test_an_ended_task_never_changes(store: Store, end: TaskState) -> None:
    task = store.write_now(queued)
    store.write_now(lambda tx: tasks.set_state(tx, task.id, end, "first", 30.0))
    before = store.read_now(lambda tx: tasks.task(tx, task.id))
    for state in TaskState:
        assert not store.write_now(lambda tx, state=state: tasks.set_state(tx, task.id, state, "later", 40.0))
    assert not store.write_now(lambda tx: tasks.request_cancel(tx, task.id, "ann"))
    assert store.read_now(lambda tx: tasks.task(tx, task.id)) == before


def test_the_first_wish_to_cancel_counts_and_leaves_the_state(store: Store) -> None:
    task = store.write_now(queued)
    assert store.write_now(lambda tx: tasks.request_cancel(tx, task.id, "ann"))
    assert not store.write_now(lambda tx: tasks.request_cancel(tx, task.id, "bob"))
    assert store.read_now(lambda tx: tasks.task(tx, task.id)) == replace(task, cancel_by="ann")


def test_a_waiting_step_keeps_the_start_of_its_wait_while_the_reason_changes(store: Store) -> None:
    task = store.write_now(queued_with_steps)

    def move(state: StepState, reason: str, at: float) -> tuple[float | None, float | None, float | None]:
        assert store.write_now(lambda tx: tasks.set_step(tx, task.id, 1, state, reason=reason, at=at))
        run = store.read_now(lambda tx: tasks.steps(tx, task.id))[1]
        assert (run.state, run.reason) == (state, reason)
        return run.since, run.started_at, run.finished_at

    assert move(StepState.PENDING, "", 1.0) == (1.0, None, None)
    assert move(StepState.WAITING, "all workers are busy", 2.0) == (2.0, None, None)
    assert move(StepState.WAITING, "no worker is healthy", 3.0) == (2.0, None, None)
    assert move(StepState.RUNNING, "", 4.0) == (4.0, 4.0, None)
    assert move(StepState.WAITING, "again in 15 s", 5.0) == (5.0, 4.0, None)
    assert move(StepState.RUNNING, "", 6.0) == (6.0, 4.0, None)
    assert move(StepState.SUCCEEDED, "", 7.0) == (7.0, 4.0, 7.0)


@pytest.mark.parametrize("end", STEP_ENDS)
def test_an_ended_step_never_changes_and_its_neighbours_do(store: Store, end: StepState) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: tasks.set_step(tx, task.id, 1, end, reason="first", at=5.0))
    before = store.read_now(lambda tx: tasks.steps(tx, task.id))
    for state in StepState:
        assert not store.write_now(
            lambda tx, state=state: tasks.set_step(tx, task.id, 1, state, reason="later", at=6.0)
        )
    assert store.read_now(lambda tx: tasks.steps(tx, task.id)) == before
    assert [run.key for run in before] == ["step-0", "step-1", "step-2"]
    assert store.write_now(lambda tx: tasks.set_step(tx, task.id, 2, StepState.RUNNING, reason="", at=7.0))


def test_the_steps_that_unfinished_tasks_ask_no_worker_for_are_told(store: Store) -> None:
    first, second, ended = (store.write_now(queued_with_steps).id for _ in range(3))

    def move(tx: Transaction) -> None:
        tasks.set_step(tx, first, 0, StepState.SUCCEEDED, reason="", at=5.0)
        tasks.set_step(tx, first, 1, StepState.RUNNING, reason="", at=5.0)
        tasks.set_step(tx, second, 1, StepState.SKIPPED, reason="", at=5.0)
        tasks.set_step(tx, second, 2, StepState.FAILED, reason="", at=5.0)
        tasks.set_step(tx, ended, 0, StepState.SUCCEEDED, reason="", at=5.0)
        tasks.set_state(tx, ended, TaskState.SUCCEEDED, "", 6.0)

    store.write_now(move)
    assert store.read_now(tasks.settled_steps) == {
        first: frozenset({"step-0"}),
        second: frozenset({"step-1", "step-2"}),
    }


def test_a_step_asks_for_no_worker_while_an_attempt_of_it_lives(store: Store) -> None:
    task = store.write_now(queued_with_steps).id

    def asked_for() -> set[str]:
        settled = store.read_now(tasks.settled_steps).get(task, frozenset())
        return {"step-0", "step-1", "step-2"} - settled

    for step in (0, 1):
        attempt = Attempt(f"t{step}", task, step, 1, "w1", 1, AttemptState.GRANTED, "{}")
        store.write_now(lambda tx, attempt=attempt: attempts.grant(tx, [(attempt, "")]))
    assert asked_for() == {"step-2"}
    store.write_now(lambda tx: attempts.lose(tx, "t0", 5.0))
    store.write_now(lambda tx: attempts.ended(tx, [attempts.Ended("t1", "{}", 6.0, log_length=0, log_digest="")]))
    assert asked_for() == {"step-0", "step-1", "step-2"}


def test_a_task_is_overtaken_by_the_next_one_of_its_slot_until_it_ends(store: Store) -> None:
    first, other = (
        store.write_now(lambda tx, slot=slot: queued(tx, slot)) for slot in (SLOT, Slot("till", "lab", "a"))
    )
    assert store.read_now(tasks.overtaken_tasks) == []
    store.write_now(queued)
    store.write_now(lambda tx: queued(tx, other.slot))
    assert store.read_now(tasks.overtaken_tasks) == [first, other]
    assert store.read_now(objects.live_state).overtaken == (first, other)
    store.write_now(lambda tx: tasks.set_state(tx, first.id, TaskState.FAILED, "", 6.0))
    assert store.read_now(tasks.overtaken_tasks) == [other]


def test_who_is_to_be_cancelled_is_told_of_many_tasks_at_once(store: Store) -> None:
    numbers = [store.write_now(queued).id for _ in range(3)]
    store.write_now(lambda tx: tasks.request_cancel(tx, numbers[1], "ada"))
    assert store.read_now(lambda tx: tasks.cancelled(tx, numbers)) == {numbers[1]}
    assert store.read_now(lambda tx: tasks.cancelled(tx, [])) == set()
