"""What a drain means for attempts: nothing is granted to who is drained, and who has no patience cancels what is left."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.execute.attempt_records import Granting, grant_attempts
from reconciler.model.live import AttemptState, Override, StepState, TaskState
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import Cancelled, Exited, NotStarted, Running, TicketId, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.placement import Placed
from reconciler.schedule.requests import Grant, Request, RequestId
from reconciler.store import objects, overrides
from tests.execute.test_dispatch import RETRIED, STEP, dispatching
from tests.server.parties import live

WHY = "cancelled by the drain of w1: its deadline of 1h has passed"


@pytest.mark.parametrize("has_started", [True, False])
async def test_a_step_whose_attempt_a_drain_cancelled_has_failed_with_its_sentence(
    tmp_path: Path, has_started: bool
) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        if has_started:
            await scene.report(attempt, Running())
        for _ in range(2):
            scene.dispatcher.withdraw(BUILTIN, {attempt.ticket: WHY})
        await scene.finish(attempt, Cancelled() if has_started else NotStarted("it was cancelled before it started"))
        task = await scene.task_in(TaskState.FAILED)
        assert scene.step().state is StepState.FAILED
        assert scene.step().reason == WHY
        assert WHY in task.reason


async def test_a_step_with_another_try_goes_on_with_that(tmp_path: Path) -> None:
    async with dispatching(tmp_path, RETRIED) as scene:
        attempt = await scene.attempt()
        scene.dispatcher.withdraw(BUILTIN, {attempt.ticket: WHY})
        await scene.finish(attempt, Cancelled())
        await scene.finish(await scene.attempt(2), Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)


async def test_an_attempt_that_ended_by_itself_at_that_moment_has_succeeded(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        scene.dispatcher.withdraw(BUILTIN, {attempt.ticket: WHY})
        await scene.finish(attempt, Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)


async def test_what_nobody_can_speak_with_is_cancelled_later(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        scene.dispatcher.withdraw("w1", {attempt.ticket: WHY})
        await scene.finish(attempt, Cancelled())
        await scene.task_in(TaskState.CANCELLED)


async def test_what_was_chosen_before_the_order_is_not_granted_after_it(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP, STEP | {"name": "Next"}) as scene:
        attempt = await scene.attempt()
        spec = replace(loaded(TicketSpec, attempt.spec.encode()), ticket=TicketId("t2"))
        grant = Grant(Request(RequestId("next"), "shop", 0.0), "w1")
        placed = Placed("w1", "w1 alone has room for it")
        wish = [Granting(scene.task(), 1, 1, placed, spec, grant, {})]
        order = Override("w1", "ada@desk", "disk swap", time.time(), time.time() + 60.0)
        scene.store.write_now(lambda tx: objects.put(tx, live("Worker", "w1")))
        scene.store.write_now(lambda tx: overrides.put(tx, order))
        assert scene.store.write_now(lambda tx: grant_attempts(tx, wish)) == [None]
        scene.store.write_now(lambda tx: overrides.end(tx, "w1"))
        (granted,) = scene.store.write_now(lambda tx: grant_attempts(tx, wish))
        assert granted is not None
        assert (granted.attempt.worker, granted.attempt.state) == ("w1", AttemptState.GRANTED)
