"""Questions to people: how long an answer is waited for, over restarts too, and what is said when none comes."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.execute.watching import Sighting, TaskMoved
from reconciler.model.live import StepState, TaskId, TaskState
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import results, tasks
from tests.execute.test_leasing import Stage, engine, queue, state, step, worker
from tests.simulation.still_time import Clock

HOUR = 3_600.0
ABANDONED = {"condition": "failure"}


def ask(name: str = "ask", teams: tuple[str, ...] = (), **fields: object) -> dict[str, object]:
    return {"name": name, "manual": {"instructions": f"Is {name} well?\nLook twice.", "teams": teams}, **fields}


class Today(Clock):
    """A clock that stands still from the moment at which it was made: the tests queue tasks by the real one."""

    def __init__(self) -> None:
        super().__init__()
        self._made = math.ceil(time.time())

    def time(self) -> float:
        return self._made + self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Let the package's clocks stand still until the test moves them."""
    clock = Today()
    with clock.told():
        yield clock


def awaits(stage: Stage, *steps: str) -> bool:
    """Say whether these steps wait for a person."""
    asking = {run.key for run in stage.steps(1) if run.state is StepState.RUNNING}
    return stage.state(1) is TaskState.AWAITING_INTERVENTION and asking == set(steps)


def pass_time(stage: Stage, clock: Clock, seconds: float) -> None:
    """Let time pass, and the engine look."""
    clock.now += seconds
    stage.dispatcher.wake()


def patience(stage: Stage) -> float:
    return stage.dispatcher._runs[TaskId(1)]._patience()


@pytest.mark.parametrize(
    ("asking", "seconds", "sentence"),
    [
        (ask(timeout="2h"), 2 * HOUR, "nobody answered for 2h"),
        (ask(timeout="2h", teams=("dba",)), 2 * HOUR, "nobody of the team dba answered for 2h"),
        (ask(timeout="30d", teams=("dba", "ops")), 720 * HOUR, "nobody of the teams dba, ops answered for 30d"),
        (ask(), 168 * HOUR, "nobody answered for 7 days"),
    ],
)
async def test_a_question_that_nobody_answers_in_time_fails_its_step(
    tmp_path: Path, clock: Clock, asking: dict[str, object], seconds: float, sentence: str
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", asking, step("work"), step("undo", **ABANDONED))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: awaits(stage, "ask"))
            clock.now += seconds - 1.0
            assert not await stage.dispatcher._runs[TaskId(1)]._move()
            assert awaits(stage, "ask")
            assert patience(stage) == 1.0
            pass_time(stage, clock, 1.0)
            await stage.until_run("1:undo")
            assert (stage.step(1, "ask").state, stage.step(1, "ask").reason) == (StepState.FAILED, sentence)
            assert stage.step(1, "work").state is StepState.SKIPPED
            await stage.end("1:undo")
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.reason(1) == f'"ask" failed: {sentence}'


async def test_the_engine_wakes_by_itself_when_nobody_has_answered(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        queue(store, "a", ask(timeout="200ms"))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "ask").reason == "nobody answered for 200ms"


@pytest.mark.parametrize("away", [0.0, 0.4 * HOUR, 0.6 * HOUR])
async def test_the_time_for_an_answer_goes_on_while_no_engine_runs(tmp_path: Path, clock: Clock, away: float) -> None:
    async with state(tmp_path) as store:
        queue(store, "a", ask(timeout="1h"))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: awaits(stage, "ask"))
            clock.now += 0.5 * HOUR
        clock.now += away
        async with engine(store, tmp_path) as stage:
            if away < 0.5 * HOUR:
                assert not await stage.dispatcher._runs[TaskId(1)]._move()
                assert awaits(stage, "ask")
                assert patience(stage) == pytest.approx(0.5 * HOUR - away)
                pass_time(stage, clock, 0.5 * HOUR - away)
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "ask").reason == "nobody answered for 1h"


async def test_an_answer_at_the_last_moment_counts_though_the_engine_has_not_heard_of_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with state(tmp_path) as store:
        queue(store, "a", ask(timeout="1h"))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: awaits(stage, "ask"))
            clock.now += HOUR - 1.0
            store.write_now(lambda tx: carry_out_decision(tx, Decision("approve", "1", "ada")))
            clock.now += 1.0
            stage.dispatcher._runs[TaskId(1)].look_around()  # as its own timer does
            await stage.until(lambda: stage.state(1) is TaskState.SUCCEEDED)
            assert stage.step(1, "ask").reason == "approved by ada"


async def test_of_two_questions_each_has_its_own_time_and_the_task_says_which_one_waits(
    tmp_path: Path, clock: Clock
) -> None:
    beside = {"start": "withPrevious"}
    async with state(tmp_path) as store:
        queue(store, "a", ask(timeout="2h"), ask("again", timeout="1h", **beside), ask("third", **beside))
        seen: list[Sighting] = []
        async with engine(store, tmp_path) as stage:
            stage.moves.see = lambda sighting: (seen.append(sighting), stage.moves.next.set())
            stage.dispatcher.wake()
            await stage.until(lambda: awaits(stage, "ask", "again", "third"))
            assert stage.reason(1) == '"third": Is third well?'
            pass_time(stage, clock, HOUR)
            await stage.until(lambda: awaits(stage, "ask", "third"))
            assert stage.step(1, "again").reason == "nobody answered for 1h"
            assert stage.reason(1) == '"ask": Is ask well?'
            pass_time(stage, clock, HOUR)
            await stage.until(lambda: awaits(stage, "third"))
            assert stage.reason(1) == '"third": Is third well?'
            store.write_now(lambda tx: carry_out_decision(tx, Decision("approve", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            told = [sighting.asks for sighting in seen if isinstance(sighting, TaskMoved)]
            assert told[-5:] == [("ask", "again", "third"), ("ask", "third"), ("third",), (), ()]
            assert not store.read_now(results.open_interventions)


async def test_the_task_that_repeats_one_which_nobody_answered_asks_anew(tmp_path: Path, clock: Clock) -> None:
    async with state(tmp_path) as store:
        queue(store, "a", ask(timeout="1h"))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: awaits(stage, "ask"))
            pass_time(stage, clock, HOUR)
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            store.write_now(lambda tx: carry_out_decision(tx, Decision("retry", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.store.read_now(lambda tx: len(tasks.tasks(tx, 2))) == 2)
            await stage.until(lambda: stage.state(2) is TaskState.AWAITING_INTERVENTION)
            assert stage.dispatcher._runs[TaskId(2)]._patience() == pytest.approx(HOUR)
