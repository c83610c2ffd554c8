"""In which order steps and tasks run, and what becomes of those that do not: conditions, waves, after, edits."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.processes import until
from tests.chaos.space import AUTO, Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with space_in(tmp_path) as found:
        yield found


def test_after_a_failure_the_steps_that_ask_for_it_run_and_the_task_has_failed(space: Space) -> None:
    space.declare(
        step("Works", "set_output size 3"),
        step("Unhurt", condition="failure"),
        step("Fails", "exit 1"),
        step("Success"),
        step("Failure", condition="failure"),
        step("Always", condition="always"),
        step("True", condition="${{ steps.works.output.size | int > 2 }}"),
        step("False", condition="${{ steps.works.output.size | int > 3 }}"),
    )
    space.apply(expect=6)
    assert space.states() == {
        "Works": "succeeded", "Unhurt": "skipped", "Fails": "failed", "Success": "skipped", "Failure": "succeeded",
        "Always": "succeeded", "True": "succeeded", "False": "skipped",
    }  # fmt: skip
    assert space.runs()["Success"].reason == '"Fails" failed before it'
    assert space.task().state is TaskState.FAILED
    assert space.starts() == Counter(["Works", "Fails", "Failure", "Always", "True"])


def test_steps_that_start_with_the_previous_one_run_side_by_side(space: Space) -> None:
    space.declare(
        step("Left", gate("left")), step("Right", "touch $GATES/left\n" + gate("right"), start="withPrevious"),
        step("Third", "touch $GATES/right", start="withPrevious"), step("After"),
    )  # fmt: skip
    space.apply()
    assert space.starts() == Counter(["Left", "Right", "Third", "After"])


def test_a_condition_that_cannot_be_evaluated_fails_its_step_in_words(space: Space) -> None:
    space.declare(step("Works"), step("Unclear", condition="${{ steps.works.output.size == '3' }}"))
    space.apply(expect=6)
    assert "its condition cannot be evaluated" in space.runs()["Unclear"].reason


def test_steps_that_a_deployment_skips_do_not_start(space: Space) -> None:
    space.declare(step("One"), step("Two"), step("Off", disabled=True), skipSteps=["one"])
    space.apply()
    assert space.states() == {"One": "skipped", "Two": "succeeded", "Off": "skipped"}
    assert space.starts() == Counter(["Two"])


def test_a_deployment_waits_for_the_one_it_names(space: Space) -> None:
    space.declare(step("First", gate()))
    space.declare(step("Second"), project="other", after=["shop"])
    apply = space.start(*AUTO)
    space.until_started("First")
    until(lambda: any("shop has not ended" in task.reason for task in space.tasks()), "the reason of the wait")
    space.open()
    apply.wait()
    assert space.starts() == Counter(["First", "Second"])


def test_a_deployment_whose_predecessor_failed_waits_without_holding_up_anybody(space: Space) -> None:
    space.declare(step("First", '[ -e "$GATES/mended" ]'))
    space.declare(step("Second"), project="other", after=["shop"])
    space.apply(expect=6)
    waiting = next(task for task in space.tasks() if task.deployment == "other")
    assert waiting.state is TaskState.QUEUED
    assert "shop failed" in waiting.reason
    space.open("mended")
    space.reconcile("retry", "shop")
    space.apply()
    assert space.starts() == Counter({"First": 2, "Second": 1})


def test_an_edit_supersedes_what_is_queued_and_lets_finish_what_runs(space: Space) -> None:
    space.declare(step("Long", gate()))
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.kill()
    for release in ("2", "3"):
        space.deploy(release)
        again = space.start(*AUTO)
        until(lambda: [task.release for task in space.tasks()][-1] == release, "the next task")  # noqa: B023 - runs now
        until(lambda: "has not ended" in space.tasks()[-1].reason, "its wait")
        again.kill()
    space.open()
    space.apply()
    assert [(task.release, task.state) for task in space.tasks()] == [
        ("1", TaskState.SUCCEEDED), ("2", TaskState.CANCELLED), ("3", TaskState.SUCCEEDED),
    ]  # fmt: skip
    assert "superseded before it started" in space.task(2).reason
    assert space.starts() == Counter({"Long": 2})


def test_a_deployment_that_leaves_git_takes_its_queued_task_with_it(space: Space) -> None:
    space.declare(step("First", "exit 1"))
    space.declare(step("Second"), project="other", after=["shop"])
    space.apply(expect=6)
    space.remove("other-deployment")
    space.apply(expect=6)
    gone = next(task for task in space.tasks() if task.deployment == "other")
    assert gone.state is TaskState.CANCELLED
    assert "its deployment was removed from Git" in gone.reason
    assert space.starts() == Counter(["First"])


def test_a_rollback_runs_the_former_release_again(space: Space) -> None:
    space.declare(step("Only", 'echo "$RELEASE"', env={"RELEASE": "${{ release }}"}))
    for release in ("1", "2", "1"):
        space.deploy(release)
        space.apply()
    assert [space.log(space.attempts(number)[0].ticket) for number in (1, 2, 3)] == [b"1\n", b"2\n", b"1\n"]
