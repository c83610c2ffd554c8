"""Whatever the process and however its steps end: every step ends, the task ends once, and conditions hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.live import StepRun, StepState, TaskState
from reconciler.model.work import Step
from reconciler.schedule.progress import ConditionUnclear, End, Settle, Start, next_moves
from tests.scenarios.playing import MOVES_MAX, pending

S = StepState
EXPRESSION = "${{ holds }}"
CONDITIONS = ("success", "failure", "always", EXPRESSION)
ENDS = (S.SUCCEEDED, S.FAILED, S.LOST, S.CANCELLED)


@dataclass(frozen=True)
class Process:
    """Steps, how each ends if it runs, what each expression says, and which steps nobody can run at first."""

    steps: tuple[Step, ...]
    ends: tuple[StepState, ...]
    says: tuple[bool | None, ...]  # None: it cannot be evaluated
    parallel_max: int

    def evaluate(self, index: int, condition: str) -> bool:
        assert condition == EXPRESSION
        said = self.says[index]
        if said is None:
            raise ConditionUnclear("who knows")
        return said


def step(index: int, start: str = "afterPrevious", condition: str = "success") -> Step:
    fields = {"name": f"step {index}", "start": start, "condition": condition, "script": {}}
    return Step.model_validate(fields)


@st.composite
def processes(draw: st.DrawFn, ends: Sequence[StepState] = ENDS) -> Process:
    many = draw(st.integers(1, 7))
    return Process(
        tuple(
            step(index, draw(st.sampled_from(["afterPrevious", "withPrevious"])), draw(st.sampled_from(CONDITIONS)))
            for index in range(many)
        ),
        tuple(draw(st.lists(st.sampled_from(ends), min_size=many, max_size=many))),
        tuple(draw(st.lists(st.sampled_from([True, False, None]), min_size=many, max_size=many))),
        draw(st.integers(1, 3)),
    )


@dataclass
class Played:
    """What came of a process."""

    runs: list[StepRun]
    started: list[list[int]]
    """For each step that started: the steps that had ended before."""
    widest: int
    end: End


def play(process: Process, random: Random) -> Played:
    """Play a process; workers come and steps end as chance has it."""
    runs, started, widest = pending(process.steps), [[] for _ in process.steps], 0
    for _ in range(MOVES_MAX):
        moves = next_moves(process.steps, runs, process.evaluate, parallel_max=process.parallel_max)
        ends = [move for move in moves if isinstance(move, End)]
        if ends:
            assert moves == ends
            return Played(runs, started, widest, ends[0])
        for move in moves:
            match move:
                case Settle(index, state, reason):
                    assert runs[index].state is S.PENDING
                    runs[index] = replace(runs[index], state=state, reason=reason)
                case Start(index):
                    assert runs[index].state in {S.PENDING, S.WAITING}
                    found = random.choice([S.RUNNING, S.RUNNING, S.WAITING])
                    runs[index] = replace(runs[index], state=found)
                    if found is S.RUNNING:
                        started[index] = [run.index for run in runs if run.state.ended]
        running = [run.index for run in runs if run.state is S.RUNNING]
        widest = max(widest, len(running))
        assert running or moves, "nothing runs and nothing moves: the task hangs"
        if running and random.random() < 0.5:
            index = random.choice(running)
            runs[index] = replace(runs[index], state=process.ends[index])
    raise AssertionError("the task never ends")


def waves(process: Process) -> list[list[int]]:
    """Group the steps by the rule of the documents, said another way than the code says it."""
    firsts = [index for index, item in enumerate(process.steps) if index == 0 or item.start == "afterPrevious"]
    return [list(range(first, last)) for first, last in zip(firsts, [*firsts[1:], len(process.steps)], strict=True)]


chances = st.integers(0, 2**32).map(Random)
many = settings(max_examples=300, deadline=None)


@given(processes(), chances)
@many
def test_every_step_ends_and_the_task_ends_once(process: Process, random: Random) -> None:
    played = play(process, random)
    assert all(run.state.ended for run in played.runs)
    states = {run.state for run in played.runs}
    if states & {S.FAILED, S.LOST}:
        assert played.end.state is TaskState.FAILED
    elif S.CANCELLED in states:
        assert played.end.state is TaskState.CANCELLED
    else:
        assert played.end == End(TaskState.SUCCEEDED, "")


@given(processes(), chances)
@many
def test_no_more_steps_run_at_a_time_than_may(process: Process, random: Random) -> None:
    assert play(process, random).widest <= process.parallel_max


@given(processes(), chances)
@many
def test_a_wave_begins_when_the_one_before_has_ended(process: Process, random: Random) -> None:
    played = play(process, random)
    earlier: list[int] = []
    for wave in waves(process):
        for index in wave:
            if played.runs[index].state in ENDS and played.started[index]:
                assert set(earlier) <= set(played.started[index])
        earlier += wave


@given(processes(), chances)
@many
def test_a_condition_is_judged_by_the_waves_before_and_an_expression_whatever_happened(
    process: Process, random: Random
) -> None:
    runs = play(process, random).runs
    earlier: list[StepState] = []
    for wave in waves(process):
        failed = any(state in {S.FAILED, S.LOST} for state in earlier)
        for index in wave:
            runs_at_all = {
                "success": not failed and S.CANCELLED not in earlier,
                "failure": failed,
                "always": True,
                EXPRESSION: process.says[index] is True,
            }[process.steps[index].condition]
            unclear = process.steps[index].condition == EXPRESSION and process.says[index] is None
            expected = process.ends[index] if runs_at_all else S.FAILED if unclear else S.SKIPPED
            assert runs[index].state is expected
            assert bool(runs[index].reason) is not runs_at_all
        earlier += [runs[index].state for index in wave]


@given(processes(), st.data())
@many
def test_a_cancelled_task_starts_nothing_and_ends_when_what_runs_has_ended(
    process: Process, data: st.DataObject
) -> None:
    states = st.sampled_from([S.PENDING, S.WAITING, S.RUNNING, *ENDS, S.SKIPPED])
    runs = [replace(run, state=data.draw(states)) for run in pending(process.steps)]
    moves = next_moves(process.steps, runs, process.evaluate, parallel_max=process.parallel_max, cancelling=True)
    idle = [run.index for run in runs if run.state in {S.PENDING, S.WAITING}]
    if idle:
        assert moves == [Settle(index, S.CANCELLED, "the task was cancelled") for index in idle]
    elif any(run.state is S.RUNNING for run in runs):
        assert moves == []
    else:
        assert moves == [End(TaskState.CANCELLED, "cancelled")]


def test_a_step_that_waits_for_a_worker_is_looked_at_again() -> None:
    steps = (step(0), step(1, "withPrevious"), step(2, "withPrevious"))
    runs = [replace(run, state=S.WAITING) for run in pending(steps)]
    assert next_moves(steps, runs, bool, parallel_max=2) == [Start(0), Start(1)]


def test_a_step_that_waits_starts_no_more_than_may_run() -> None:
    steps = (step(0), step(1, "withPrevious"))
    waiting, running = pending(steps)
    runs = [replace(waiting, state=S.WAITING), replace(running, state=S.RUNNING)]
    assert next_moves(steps, runs, bool, parallel_max=1) == []
    assert next_moves(steps, runs, bool, parallel_max=2) == [Start(0)]


def test_a_failure_names_the_first_step_that_failed_and_why() -> None:
    steps = (step(0), step(1, "withPrevious"))
    first, second = pending(steps)
    runs = [replace(first, state=S.LOST, reason="the shim died"), replace(second, state=S.FAILED, reason="exit code 1")]
    assert next_moves(steps, runs, bool, parallel_max=9) == [End(TaskState.FAILED, '"step 0" was lost: the shim died')]


def test_conditions_of_one_wave_do_not_see_each_other() -> None:
    steps = (step(0), step(1, "withPrevious", "failure"), step(2, "afterPrevious", "failure"))
    first, *others = pending(steps)
    runs = [replace(first, state=S.FAILED), *others]
    assert next_moves(steps, runs, bool, parallel_max=9) == [Settle(1, S.SKIPPED, "nothing failed before it")]
    runs[1] = replace(runs[1], state=S.SKIPPED)
    assert next_moves(steps, runs, bool, parallel_max=9) == [Start(2)]
