"""The open questions of a task: which one an answer is for, until when it is heard, and the commands that answer it."""

import time
from dataclasses import dataclass

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Intervention, StepRun, Task, TaskState
from reconciler.model.pinned import Pinned
from reconciler.server.orders.words import answering
from reconciler.steps.manual import answered_within, unanswered
from reconciler.store import results, tasks
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Question:
    """A question that waits for an answer, and the step run that asks; from `until` on no answer is heard any more.

    That is in seconds since the epoch; `unanswered` says then why the step fails.
    """

    asked: Intervention
    run: StepRun
    until: float
    unanswered: str
    alone: bool
    """Is it the only one of its task?"""

    @property
    def commands(self) -> str:
        """The commands that answer it, in words."""
        return answering(self.run.task, "" if self.alone else self.run.key)


def questions_of(tx: Transaction, task: Task) -> list[Question]:
    """Return the open questions of a task, the oldest first, also those that nobody has answered in time."""
    asked = results.open_interventions(tx, task.id)
    if not asked:
        return []
    runs, process = tasks.steps(tx, task.id), Pinned.parse(tasks.pinned(tx, task.pin)).project.process
    return [
        Question(
            one,
            runs[one.step],
            one.asked_at + answered_within(process[one.step]),
            unanswered(process[one.step], one.teams),
            alone=len(asked) == 1,
        )
        for one in asked
    ]


def question_of(tx: Transaction, task: Task, step: str) -> Question:
    """Return the question that an answer is for: that of a step by its id or name, or with "" the only one.

    Raises UsageMistake for a step that the task does not have, and Conflict where the step does not ask, where several
    do and none is named, and where an answer comes too late.
    """
    asked = questions_of(tx, task)
    found = [one for one in asked if step in {"", one.run.key}] or [one for one in asked if one.run.name == step]
    if not found:
        raise _nothing_asked(tx, task, step)
    open_ones = [one for one in found if time.time() < one.until]
    if not open_ones:
        late = found[0]
        raise Conflict(
            f'"{late.run.name}" of task {task.id} is not asked any more: {late.unanswered}',
            "it has failed, or fails with the next: reconcile apply",
        )
    if len(open_ones) > 1:
        names = ", ".join(f'"{one.run.name}" (--step {one.run.key})' for one in open_ones)
        raise Conflict(
            f"task {task.id} asks {len(open_ones)} questions: {names}",
            "say which one is answered: add --step, or the field `step` to the body of the API",
        )
    return open_ones[0]


def _nothing_asked(tx: Transaction, task: Task, step: str) -> Conflict | UsageMistake:
    """Return why there is no question, of a step or of the whole task."""
    if not step and task.state is TaskState.AWAITING_INTERVENTION:
        return Conflict(f"task {task.id} is answered already", "it goes on with the next: reconcile apply")
    if not step:
        return Conflict(f"task {task.id} waits for nobody: it is {task.state}", "`reconcile status` shows what waits")
    runs = tasks.steps(tx, task.id)
    run = next((one for one in runs if step in {one.key, one.name}), None)
    if run is None:
        words = [word for one in runs for word in (one.name, one.key)]
        return UsageMistake(f'task {task.id} has no step "{step}"{did_you_mean(step, words)}')
    known = results.intervention(tx, task.id, run.index)
    if known is not None and known.decision:
        return Conflict(f'"{run.name}" of task {task.id} is answered already: {known.decision} by {known.decided_by}')
    return Conflict(
        f'"{run.name}" of task {task.id} asks nobody: it is {run.state}', "`reconcile status` shows what waits"
    )
