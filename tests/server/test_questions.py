"""Answers where a task asks several questions, or where one comes late: whose it is, what is refused, what is recorded."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.model.errors import Conflict, ReconcilerError, UsageMistake
from reconciler.model.live import StepState, TaskId, TaskState
from reconciler.server.answers.overview import overview
from reconciler.server.answers.reasons import reasons
from reconciler.server.orders.decisions import Decision, carry_out_decision, decision_from, decision_to
from reconciler.server.state.times import stamp
from reconciler.store import audit, results, tasks
from tests.execute.test_leasing import Stage, engine, queue, state, step
from tests.execute.test_questions import Today, ask, awaits

BESIDE = {"start": "withPrevious"}
SEVERAL = (
    'task 1 asks 2 questions: "ask" (--step ask), "Ask again" (--step again)',
    "say which one is answered: add --step, or the field `step` to the body of the API",
)


@asynccontextmanager
async def asking(folder: Path, *process: dict[str, object]) -> AsyncIterator[Stage]:
    """Run an engine whose task asks two questions at once, or those of `process`."""
    several = (ask(timeout="2h"), {**ask("Ask again", **BESIDE), "id": "again"}, step("work", condition="always"))
    async with state(folder) as store:
        queue(store, "a", *(process or several))
        async with engine(store, folder) as stage:
            await stage.until(lambda: awaits(stage, *(("ask",) if process else ("ask", "again"))))
            yield stage


def decide(stage: Stage, verb: str, step: str = "", notes: str = "") -> str:
    return stage.store.write_now(lambda tx: carry_out_decision(tx, Decision(verb, "1", "ada", notes, step)))


def refusal(stage: Stage, step: str = "") -> tuple[type[ReconcilerError], str, str]:
    with pytest.raises(ReconcilerError) as caught:
        decide(stage, "approve", step)
    return type(caught.value), caught.value.message, caught.value.hint


async def test_where_several_steps_ask_the_one_that_is_answered_is_named(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        assert refusal(stage) == (Conflict, *SEVERAL)
        assert decide(stage, "reject", "Ask again") == 'rejected "Ask again" of task 1 (a)'
        assert refusal(stage, "again") == (Conflict, '"Ask again" of task 1 is answered already: rejected by ada', "")
        stage.dispatcher.wake()
        await stage.until(lambda: awaits(stage, "ask"))
        assert stage.step(1, "again").state is StepState.FAILED
        assert decide(stage, "approve", "ask") == 'approved "ask" of task 1 (a)'
        stage.dispatcher.wake()
        await stage.until(lambda: stage.step(1, "ask").state is StepState.SUCCEEDED)


async def test_where_one_is_left_it_needs_no_name_and_takes_its_own(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        decide(stage, "approve", "ask")
        assert decide(stage, "approve") == 'approved "Ask again" of task 1 (a)'
        assert refusal(stage) == (Conflict, "task 1 is answered already", "it goes on with the next: reconcile apply")


async def test_a_step_that_does_not_ask_is_not_answered(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        assert refusal(stage, "work") == (
            *(Conflict, '"work" of task 1 asks nobody: it is pending', "`reconcile status` shows what waits"),
        )
        assert refusal(stage, "aks") == (UsageMistake, 'task 1 has no step "aks"; did you mean "ask"?', "")
        decide(stage, "approve", "ask")
        decide(stage, "approve", "again")
        stage.dispatcher.wake()
        await stage.until(lambda: stage.state(1) is not TaskState.AWAITING_INTERVENTION)
        assert refusal(stage, "ask")[1] == '"ask" of task 1 is answered already: approved by ada'


async def test_an_answer_that_comes_too_late_is_refused_though_nobody_has_closed_the_question(tmp_path: Path) -> None:
    clock = Today()
    with clock.told():
        async with asking(tmp_path, ask(timeout="2h", teams=("dba",)), step("work")) as stage:
            clock.now += 7_200.0 - 0.5
            row = stage.store.read_now(lambda tx: overview(tx, engine_runs=True)).questions[0]
            assert row.until == clock.time() + 0.5
            clock.now += 0.5
            assert refusal(stage) == (
                Conflict,
                '"ask" of task 1 is not asked any more: nobody of the team dba answered for 2h',
                "it has failed, or fails with the next: reconcile apply",
            )
            assert refusal(stage, "ask") == refusal(stage)
            line = stage.store.read_now(lambda tx: list(reasons(tx, "task/1")))[2]
            assert line == f"    without an answer by {stamp(clock.time())} it fails"


async def test_why_says_how_each_question_is_answered_and_until_when(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        asked = {run.key: run.since for run in stage.steps(1)}
        until = {key: stamp((asked[key] or 0.0) + seconds) for key, seconds in (("ask", 7_200.0), ("again", 604_800.0))}
        how = "    without an answer by {} it fails; answer with: reconcile approve 1{}, or: reconcile reject 1{}"
        lines = stage.store.read_now(lambda tx: list(reasons(tx, "task/1")))
        assert lines[1:5] == [
            '  step 1 "ask" is running: waits for a person',
            how.format(until["ask"], " --step ask", " --step ask"),
            '  step 2 "Ask again" is running: waits for a person',
            how.format(until["again"], " --step again", " --step again"),
        ]
        decide(stage, "approve", "ask")
        stage.dispatcher.wake()
        await stage.until(lambda: awaits(stage, "again"))
        lines = stage.store.read_now(lambda tx: list(reasons(tx, "task/1")))
        assert lines[3] == how.format(until["again"], "", "")


async def test_the_overview_tells_whose_questions_they_are(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        rows = stage.store.read_now(lambda tx: overview(tx, engine_runs=True)).questions
        assert [(row.id, row.name, row.alone) for row in rows] == [("ask", "ask", False), ("again", "Ask again", False)]
        assert [round(row.until - row.asked_at) for row in rows if row.until] == [7_200, 604_800]
        decide(stage, "approve", "ask")
        (row,) = stage.store.read_now(lambda tx: overview(tx, engine_runs=True)).questions
        assert (row.id, row.alone) == ("again", True)


async def test_the_audit_says_which_question_was_answered(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        decide(stage, "approve", "Ask again", "as agreed")
        (event,) = [one for one in stage.store.read_now(audit.events) if one.action == "approve"]
        assert (event.subject, event.detail) == ("task/1", "as agreed")
        awaiting = {"cancelBy": "", "state": "awaitingIntervention"}
        assert json.loads(event.before) == {**awaiting, "answers": {"again": ""}}
        assert json.loads(event.after) == {**awaiting, "answers": {"again": "approved"}}


async def test_of_two_steps_of_one_name_the_id_tells_which_one_is_meant(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        queue(store, "a", {**ask(), "id": "one"}, {**ask(**BESIDE), "id": "two"})
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: awaits(stage, "one", "two"))
            assert refusal(stage, "ask")[1] == 'task 1 asks 2 questions: "ask" (--step one), "ask" (--step two)'
            decide(stage, "approve", "two")
            asked = store.read_now(lambda tx: results.intervention(tx, TaskId(1), 1))
            assert asked is not None
            assert asked.decision == "approved"


def test_a_decision_travels_as_json_also_from_a_command_that_knows_no_steps() -> None:
    decision = Decision("approve", "1", "ada", "", "ask")
    assert decision_from(json.loads(json.dumps(decision_to(decision)))) == decision
    former = {"verb": "approve", "task": "1", "actor": "ada", "notes": "well"}
    assert decision_from(former) == Decision("approve", "1", "ada", "well")


async def test_a_cancelled_task_asks_nothing(tmp_path: Path) -> None:
    async with asking(tmp_path) as stage:
        decide(stage, "cancel")
        stage.dispatcher.wake()
        await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
        assert refusal(stage) == (
            *(Conflict, "task 1 waits for nobody: it is cancelled", "`reconcile status` shows what waits"),
        )
        assert refusal(stage, "ask")[1] == '"ask" of task 1 asks nobody: it is cancelled'
        assert stage.store.read_now(lambda tx: tasks.task(tx, TaskId(1))).cancel_by == "ada"
