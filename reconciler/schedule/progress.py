"""What a task does next: which steps start, are skipped or fail, and when the task has ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.model.live import StepRun, StepState, TaskState
from reconciler.model.work import Step

NOBODY_FOR = 120.0
"""Seconds that a step waits while nobody can run it; after that it fails, so failure and always steps still run."""

LOOK_AGAIN = 1.0
"""Seconds until a step is tried again whose worker was not there as it seemed."""

ABANDONED_AFTER = 120.0
"""Seconds without proof that a cancelled task has stopped, after which it is abandoned, visibly."""


@dataclass(frozen=True, slots=True)
class Start:
    """Begin the step at `index`, or look again for a worker."""

    index: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Bring the step at `index` to an end without running it."""

    index: int
    state: StepState
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Bring the task to its end."""

    state: TaskState
    reason: str


Move = Start | Settle | End


class ConditionUnclear(Exception):
    """An expression could not be evaluated; the text says why."""


Evaluate = Callable[[int, str], bool]
"""Evaluates the expression of the step at an index; raises ConditionUnclear."""


def next_moves(
    steps: Sequence[Step], runs: Sequence[StepRun], evaluate: Evaluate, *, parallel_max: int, cancelling: bool = False
) -> list[Move]:
    """Return everything that may happen now, in order; empty while running steps are awaited.

    Steps that start with the previous one form a wave; a wave begins when the one before has ended. Conditions are
    judged by the waves before. At most `parallel_max` steps run at a time.
    """
    if cancelling:
        return _wind_down(runs)
    first = next((index for index, run in enumerate(runs) if not run.state.ended), None)
    if first is None:
        return [_ending(runs)]
    wave = _wave_around(first, steps)
    return _moves_of([(index, steps[index]) for index in wave], runs, runs[: wave.start], evaluate, parallel_max)


def _wave_around(index: int, steps: Sequence[Step]) -> range:
    begin, end = index, index + 1
    while begin > 0 and steps[begin].start != "afterPrevious":
        begin -= 1
    while end < len(steps) and steps[end].start != "afterPrevious":
        end += 1
    return range(begin, end)


def _moves_of(
    wave: Sequence[tuple[int, Step]],
    runs: Sequence[StepRun],
    earlier: Sequence[StepRun],
    evaluate: Evaluate,
    parallel_max: int,
) -> list[Move]:
    moves: list[Move] = []
    running = sum(runs[index].state is StepState.RUNNING for index, _ in wave)
    for index, step in wave:
        match runs[index].state:
            case StepState.WAITING:
                move: Move = Start(index)
            case StepState.PENDING:
                move = _judge(index, step, earlier, evaluate)
            case _:
                continue
        if isinstance(move, Start):
            if running >= parallel_max:
                continue
            running += 1
        moves.append(move)
    return moves


def _judge(index: int, step: Step, earlier: Sequence[StepRun], evaluate: Evaluate) -> Move:
    failed = next((run for run in earlier if run.state in {StepState.FAILED, StepState.LOST}), None)
    if step.condition == "always":
        return Start(index)
    if step.condition == "success":
        broken = failed or next((run for run in earlier if run.state is StepState.CANCELLED), None)
        if broken is None:
            return Start(index)
        return Settle(index, StepState.SKIPPED, f'"{broken.name}" {_became(broken.state)} before it')
    if step.condition == "failure":
        if failed is not None:
            return Start(index)
        return Settle(index, StepState.SKIPPED, "nothing failed before it")
    try:
        holds = evaluate(index, step.condition)
    except ConditionUnclear as problem:
        return Settle(index, StepState.FAILED, f"its condition cannot be evaluated: {problem}")
    return Start(index) if holds else Settle(index, StepState.SKIPPED, f"its condition {step.condition} is false")


def _wind_down(runs: Sequence[StepRun]) -> list[Move]:
    waiting = [
        Settle(run.index, StepState.CANCELLED, "the task was cancelled")
        for run in runs
        if run.state in {StepState.PENDING, StepState.WAITING}
    ]
    if waiting or any(not run.state.ended for run in runs):
        return list(waiting)
    return [End(TaskState.CANCELLED, "cancelled")]


def _ending(runs: Sequence[StepRun]) -> End:
    failed = [run for run in runs if run.state in {StepState.FAILED, StepState.LOST}]
    if failed:
        reason = f": {failed[0].reason}" if failed[0].reason else ""
        return End(TaskState.FAILED, f'"{failed[0].name}" {_became(failed[0].state)}{reason}')
    if any(run.state is StepState.CANCELLED for run in runs):
        return End(TaskState.CANCELLED, "cancelled")
    return End(TaskState.SUCCEEDED, "")


def _became(state: StepState) -> str:
    return "failed" if state is StepState.FAILED else f"was {state}"
