"""What people decide while a task runs or waits: cancel, approve, reject, retry; with a live engine and without one."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.processes import until
from tests.chaos.space import AUTO, Fields, Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end

ASK: Fields = {"name": "Ask", "manual": {"instructions": "Is release ${{ release }} fine?\nLook twice."}}
TREE = """
sleep 1000 &
(trap '' TERM; setsid sleep 1001 & sleep 1002) &
trap 'echo asked to stop' TERM
echo $BASHPID > "$GATES/tree"
while :; do sleep 0.05; done
"""
"""A script with children: one plain, one in a session of its own, one whose parent ignores SIGTERM, as it does itself."""


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with space_in(tmp_path) as found:
        yield found


def sleepers(space: Space) -> list[str]:
    return [found.command.strip() for found in space.family.scripts("sleep 100")]


def test_cancel_ends_the_whole_tree_and_nothing_follows(space: Space) -> None:
    space.declare(step("Tree", TREE), step("After"), step("Always", condition="always"))
    apply = space.start(*AUTO)
    until(lambda: sorted(sleepers(space)) == ["sleep 1000", "sleep 1001", "sleep 1002"], "the tree")
    until((space.home / "gates" / "tree").exists, "the trap")
    assert "is being cancelled" in space.reconcile("cancel", "1", "--notes", "wrong release")
    assert "cancelled" in apply.wait(expect=6)
    assert sleepers(space) == []
    assert space.states() == {"Tree": "cancelled", "After": "cancelled", "Always": "cancelled"}
    assert space.task().state is TaskState.CANCELLED
    assert space.starts() == Counter(["Tree"])
    assert b"asked to stop" in space.log(space.attempts()[0].ticket)
    assert "wrong release" in space.reconcile("events")


def test_a_cancel_that_no_engine_heard_is_carried_out_by_the_next_one(space: Space) -> None:
    space.declare(step("Tree", TREE), step("After"))
    apply = space.start(*AUTO)
    until(lambda: len(sleepers(space)) == 3, "the tree")
    apply.kill()
    space.reconcile("cancel", "shop")
    assert len(sleepers(space)) == 3, "nobody was there to stop it"
    space.apply(expect=6)
    assert sleepers(space) == []
    assert space.states() == {"Tree": "cancelled", "After": "cancelled"}


def test_a_cancel_survives_a_kill_in_its_midst(space: Space) -> None:
    space.declare(step("Stubborn", "trap '' TERM\n" + "while :; do sleep 0.05; done"))
    apply = space.start(*AUTO)
    space.until_started("Stubborn")
    space.reconcile("cancel", "1")
    until(lambda: space.task().state is TaskState.CANCELLING, "the cancellation")
    apply.kill()
    space.apply(expect=6)
    assert space.task().state is TaskState.CANCELLED
    assert space.states() == {"Stubborn": "cancelled"}


def test_a_task_that_waits_behind_another_is_cancelled_before_it_starts(space: Space) -> None:
    space.declare(step("Long", gate()))
    space.declare(step("Other"), project="other", after=["shop"])
    apply = space.start(*AUTO)
    space.until_started("Long")
    until(lambda: "has not ended" in space.task(1).reason + space.task(2).reason, "the wait")
    other = next(task for task in space.tasks() if task.deployment == "other")
    assert "which had not started" in space.reconcile("cancel", "other")
    space.open()
    apply.wait(expect=6)
    assert space.task(other.id).state is TaskState.CANCELLED
    assert space.starts() == Counter(["Long"])
    assert "has ended already: it is cancelled" in space.reconcile("cancel", "other", expect=3)


@pytest.mark.parametrize(("verb", "code", "states"), [
    ("approve", 0, {"Ask": "succeeded", "After": "succeeded", "Undo": "skipped"}),
    ("reject", 6, {"Ask": "failed", "After": "skipped", "Undo": "succeeded"}),
])  # fmt: skip
def test_an_answer_without_an_engine_is_taken_up_by_the_next_apply(
    space: Space, verb: str, code: int, states: dict[str, str]
) -> None:
    space.declare(ASK, step("After"), step("Undo", condition="failure"))
    assert "Is release 1 fine?" in space.apply(expect=7)
    assert "Is release 1 fine?" in space.reconcile("status")
    space.apply(expect=7)
    space.reconcile(verb, "1")
    space.apply(expect=code)
    assert space.states() == states


@pytest.mark.parametrize(("verb", "code", "after"), [("approve", 0, "succeeded"), ("reject", 6, "skipped")])
def test_an_answer_is_heard_by_the_engine_that_waits_for_it(space: Space, verb: str, code: int, after: str) -> None:
    space.declare(ASK, step("After"))
    apply = space.start_on_terminal(*AUTO)
    until(lambda: space.tasks() and space.task().state is TaskState.AWAITING_INTERVENTION, "the question")
    space.reconcile(verb, "shop", "--notes", "says Ada")
    apply.wait(expect=code)
    assert space.states()["After"] == after
    assert "says Ada" in space.runs()["Ask"].reason
    assert "waits for nobody" in space.reconcile(verb, "shop", expect=3)


def test_a_cancelled_question_needs_no_answer(space: Space) -> None:
    space.declare(ASK, step("After"))
    space.apply(expect=7)
    space.reconcile("cancel", "1")
    space.apply(expect=6)
    assert space.states() == {"Ask": "cancelled", "After": "cancelled"}
    assert space.task().state is TaskState.CANCELLED
    assert "Is release 1 fine?" not in space.reconcile("status")
    assert "task 1 waits for nobody: it is cancelled" in space.reconcile("approve", "1", expect=3)


def test_exit_code_7_waits_for_the_steps_beside_the_question(space: Space) -> None:
    beside = step("Beside", gate(), start="withPrevious")
    space.declare(ASK, beside, step("After"))
    apply = space.start(*AUTO)
    space.until_started("Beside")
    until(lambda: space.task().state is TaskState.AWAITING_INTERVENTION, "the question")
    space.open()
    apply.wait(expect=7)
    assert space.states() == {"Ask": "running", "Beside": "succeeded", "After": "pending"}


def test_two_questions_at_once_are_answered_by_name_and_the_last_one_without(space: Space) -> None:
    space.declare(ASK, ASK | {"name": "Ask again", "start": "withPrevious"}, step("After"))
    space.apply(expect=7)
    assert "task 1 asks 2 questions" in space.reconcile("approve", "1", expect=3)
    assert '"Ask again"' in space.reconcile("approve", "1", "--step", "ask-again")
    space.apply(expect=7)
    assert space.states() == {"Ask": "running", "Ask again": "succeeded", "After": "pending"}
    assert '"Ask"' in space.reconcile("approve", "1")
    space.apply()
    assert space.starts() == Counter(["After"])


def test_a_question_with_a_time_is_closed_by_the_engine_that_waits_for_it(space: Space) -> None:
    space.declare(ASK | {"timeout": "2s"}, step("Undo", condition="failure"))
    apply = space.start_on_terminal(*AUTO)
    apply.wait(expect=6)
    assert space.states() == {"Ask": "failed", "Undo": "succeeded"}
    assert space.runs()["Ask"].reason == "nobody answered for 2s"


def test_retry_repeats_the_pinned_process_and_only_what_failed(space: Space) -> None:
    space.declare(step("Fails", '[ -e "$GATES/mended" ]'))
    space.apply(expect=6)
    space.declare(step("Another process"))
    space.open("mended")
    assert "which repeats task 1" in space.reconcile("retry", "shop")
    space.apply()
    assert space.starts() == Counter({"Fails": 2})
    assert space.task(2).state is TaskState.SUCCEEDED
    assert "only a task that did not succeed is retried" in space.reconcile("retry", "2", expect=3)
    assert "not the last one" in space.reconcile("retry", "1", expect=3)


def test_a_failed_task_is_not_repeated_by_itself(space: Space) -> None:
    space.declare(step("Fails", '[ -e "$GATES/mended" ]'))
    space.apply(expect=6)
    assert "--retry-failed" in space.apply(expect=6)
    assert space.starts() == Counter({"Fails": 1})
    space.open("mended")
    space.reconcile("apply", "--auto-approve", "--retry-failed")
    assert space.starts() == Counter({"Fails": 2})


def test_a_dead_engine_leaves_no_socket_that_answers(space: Space) -> None:
    space.declare(step("Long", gate()))
    apply = space.start(*AUTO)
    space.until_started("Long")
    assert os.stat(space.data / "control.sock").st_mode & 0o777 == 0o600
    apply.kill()
    assert (space.data / "control.sock").exists()
    space.reconcile("cancel", "1")
    space.apply(expect=6)
    assert not (space.data / "control.sock").exists()
