"""A worker that is drained by hand under a live server: nothing new goes there until that ends, what runs goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import AttemptState, StepState, TaskState
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Space, gate, space_in, step

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]

POOL = "far"
THERE = {"runOn": "workerPool", "pool": POOL}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a server with one connected agent, and a deployment that its first step holds there."""
    with space_in(tmp_path) as space:
        fleet = Fleet(space, port=free_port())
        space.write("pool", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": {}})
        space.declare(step("Hold", gate(), location=THERE), step("Then", location=THERE))
        space.remove("shop-deployment")
        fleet.prepare()
        fleet.serve()
        fleet.declare("far-1", fleet.enrol("far-1", POOL))
        fleet.commit()
        fleet.agents["far-1"].start()
        fleet.until_connected()
        space.deploy("1")
        fleet.commit()
        space.until_started("Hold")
        yield fleet


def waits(space: Space) -> str:
    """Return why the second step waits, or nothing where it does not."""
    found = space.reconcile("why", "task/1")
    return next((line for line in found.splitlines() if '"Then" is waiting' in line), "")


def test_what_runs_goes_on_and_nothing_new_comes_until_the_drain_ends(fleet: Fleet) -> None:
    space = fleet.space
    said = space.reconcile("drain", "far-1", "--live", "--reason", "disk swap", "--until", "2h")
    assert said.startswith("far-1 takes nothing new until ")
    space.open()
    until(lambda: waits(space) != "", "the second step to wait", FOLLOWS_WITHIN)
    assert "no worker of the pool far can take it: far-1 is draining by order of" in waits(space)
    assert waits(space).endswith(": disk swap")
    assert [attempt.state for attempt in space.attempts()] == [AttemptState.ENDED]
    assert space.reconcile("undrain", "far-1") == "ended the live override of far-1; it takes work again\n"
    until(lambda: space.task().state is TaskState.SUCCEEDED, "the deployment", FOLLOWS_WITHIN)
    assert [attempt.worker for attempt in space.attempts()] == ["far-1", "far-1"]


def test_a_drain_that_ran_out_lets_work_in_by_itself(fleet: Fleet) -> None:
    space = fleet.space
    space.reconcile("drain", "far-1", "--live", "--reason", "a moment", "--until", "4s")
    space.open()
    until(lambda: space.task().state is TaskState.SUCCEEDED, "the deployment", FOLLOWS_WITHIN)
    assert space.states() == {"Hold": StepState.SUCCEEDED, "Then": StepState.SUCCEEDED}
    until(lambda: "ran out" in space.reconcile("events"), "the record", FOLLOWS_WITHIN)


def join(fleet: Fleet) -> None:
    """Let a second worker join: without one, Git may not take the only worker of a task that has not ended."""
    fleet.declare("far-2", fleet.enrol("far-2", POOL))
    fleet.commit()
    fleet.agents["far-2"].start()
    fleet.until_connected()


def drain_in_git(fleet: Fleet, block: str) -> None:
    """Let Git say that the worker drains, by this block."""
    document = (fleet.space.folder / "far-1.yaml").read_text()
    assert "\nspec:\n" in document
    fleet.declare("far-1", document.replace("\nspec:\n", f"\nspec:\n  state: draining\n  drain: {block}\n"))
    fleet.commit()


def shown(space: Space, words: str) -> bool:
    """Is the worker listed in these words?"""
    return f"healthy, {words}" in space.reconcile("get", "workers")


def test_a_drain_with_a_deadline_cancels_what_is_left_and_its_step_says_so(fleet: Fleet) -> None:
    space = fleet.space
    join(fleet)
    drain_in_git(fleet, "{deadline: 1s, then: cancel}")
    until(lambda: space.task().state is TaskState.FAILED, "the deployment to fail", FOLLOWS_WITHIN)
    sentence = "cancelled by the drain of far-1: its deadline of 1s has passed"
    assert space.runs()["Hold"].reason == sentence
    assert space.states() == {"Hold": StepState.FAILED, "Then": StepState.SKIPPED}
    assert "(cancelled; nothing of it is left running)" in space.reconcile("why", "task/1")
    until(lambda: shown(space, "drained since 2"), "the drain to end", FOLLOWS_WITHIN)
    told = space.reconcile("events")
    assert told.count("the drain cancels 1 attempt still there after its deadline of 1s") == 1
    assert "nothing runs there any more, after " in told


def test_a_drain_that_waits_is_stalled_past_its_deadline_until_the_script_ends(fleet: Fleet) -> None:
    space = fleet.space
    join(fleet)
    drain_in_git(fleet, "{deadline: 1s, then: wait}")
    until(lambda: shown(space, "draining (1 attempt left, stalled since 2"), "the drain to stall", FOLLOWS_WITHIN)
    assert "it is draining (1 attempt left, stalled since 2" in space.reconcile("why", "Worker/far-1")
    assert "the drain has 1 attempt still there after its deadline of 1s" in space.reconcile("events")
    fleet.kill_server()
    fleet.serve()
    fleet.until_connected()
    space.open()
    until(lambda: shown(space, "drained since 2"), "the drain to end", FOLLOWS_WITHIN)
    assert space.reconcile("events").count("the drain has 1 attempt still there") == 1
    assert space.states()["Hold"] == StepState.SUCCEEDED


def test_a_worker_that_leaves_git_drains_by_its_last_block(fleet: Fleet) -> None:
    space = fleet.space
    document = (space.folder / "far-1.yaml").read_text()
    fleet.declare("far-1", document.replace("\nspec:\n", "\nspec:\n  drain: {deadline: 1s, then: cancel}\n"))
    join(fleet)
    space.write("reconcile", {"kind": "Space", "metadata": {"name": "test"}, "spec": {"maxRemovals": "5"}})
    fleet.commit()
    until(lambda: "maxRemovals" in space.reconcile("get", "space", "test"), "the settings", FOLLOWS_WITHIN)
    space.remove("far-1")
    fleet.commit()
    until(lambda: space.task().state is TaskState.FAILED, "the deployment to fail", FOLLOWS_WITHIN)
    assert space.runs()["Hold"].reason == "cancelled by the drain of far-1: its deadline of 1s has passed"
    until(lambda: "nothing runs there any more" in space.reconcile("events"), "the drain to end", FOLLOWS_WITHIN)
    assert "far-1" not in space.reconcile("get", "workers")


def test_a_worker_that_left_git_is_shown_while_something_lives_there(fleet: Fleet) -> None:
    space = fleet.space
    join(fleet)
    space.write("reconcile", {"kind": "Space", "metadata": {"name": "test"}, "spec": {"maxRemovals": "5"}})
    fleet.commit()
    until(lambda: "maxRemovals" in space.reconcile("get", "space", "test"), "the settings", FOLLOWS_WITHIN)
    space.remove("far-1")
    fleet.commit()
    until(lambda: shown(space, "left Git, draining (1 attempt left)"), "it to leave", FOLLOWS_WITHIN)
    why = space.reconcile("why", "Worker/far-1").splitlines()
    assert why[0] == "Worker/far-1 left Git, and is spoken with until what lives there has ended"
    assert "attempt 1 of step 1 of task 1 is running there" in why
    space.open()
    until(lambda: "far-1" not in space.reconcile("get", "workers"), "the drain to end", FOLLOWS_WITHIN)
