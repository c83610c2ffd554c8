"""A process played on paper: every move of a task, for given outcomes of its steps."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.model.live import StepRun, StepState, TaskId, TaskState
from reconciler.model.work import Step
from reconciler.schedule.progress import End, Evaluate, Move, Settle, Start, next_moves

MOVES_MAX = 1000  # of one task on paper; more means that it never ends


def pending(steps: Sequence[Step]) -> list[StepRun]:
    """Return the step runs that a task begins with."""
    return [StepRun(TaskId(1), index, step.key, step.name) for index, step in enumerate(steps)]


def play(
    steps: Sequence[Step],
    outcomes: Mapping[str, tuple[StepState, str]],
    evaluate: Evaluate,
    *,
    left_out: Callable[[Step], str | None] = lambda _: None,
    parallel_max: int = 10,
) -> Iterator[str]:
    """Yield a line for everything that happens; started steps end together, before anything else starts."""
    runs = pending(steps)
    for index, step in enumerate(steps):
        reason = left_out(step)
        if reason is not None:
            runs[index] = replace(runs[index], state=StepState.SKIPPED, reason=reason)
            yield f"{step.name}: skipped, it {reason}"
    for _ in range(MOVES_MAX):
        moves = next_moves(steps, runs, evaluate, parallel_max=parallel_max)
        yield from _told(moves, runs)
        if any(isinstance(move, End) for move in moves):
            return
        for index in [run.index for run in runs if run.state is StepState.RUNNING]:
            state, reason = outcomes.get(steps[index].name, (StepState.SUCCEEDED, ""))
            runs[index] = replace(runs[index], state=state, reason=reason)
            yield f"{steps[index].name}: {state}{f', {reason}' if reason else ''}"
    raise AssertionError("the task never ends")


def _told(moves: Collection[Move], runs: list[StepRun]) -> Iterator[str]:
    for move in moves:
        match move:
            case Start(index):
                runs[index] = replace(runs[index], state=StepState.RUNNING)
                yield f"{runs[index].name}: starts"
            case Settle(index, state, reason):
                runs[index] = replace(runs[index], state=state, reason=reason)
                yield f"{runs[index].name}: {state}, {reason}"
            case End(state, reason):
                yield f"the task {_words(state)}{f': {reason}' if reason else ''}"


def _words(state: TaskState) -> str:
    return (
        "succeeded" if state is TaskState.SUCCEEDED else f"has {state}" if state is TaskState.FAILED else f"is {state}"
    )
