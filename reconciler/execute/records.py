"""What a running task writes: each function makes one transaction whole, so a kill leaves all of it or nothing."""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.execute.endings import unknown
from reconciler.model.live import (
    Attempt,
    Event,
    Intervention,
    OutputValue,
    StepRun,
    StepState,
    Task,
    TaskId,
    TaskState,
)
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.progress import End
from reconciler.schedule.requests import Request
from reconciler.store import attempts, audit, claims, results, tasks, worker_leases
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer

ENGINE = "engine"
"""The actor of what happens by itself."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question that a person has answered."""

    step: int
    decision: str
    by: str
    notes: str

    @property
    def approved(self) -> bool:
        """Did the person say yes?"""
        return self.decision == "approved"

    @property
    def sentence(self) -> str:
        """What is said of it: who decided, how, and with which notes."""
        return f"{self.decision} by {self.by}{f': {self.notes}' if self.notes else ''}"


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """Everything that a task's run is rebuilt from; `questions` are those of steps that have not ended.

    `closed` are the step runs of the other questions.
    """

    task: Task
    runs: tuple[StepRun, ...]
    attempts: tuple[Attempt, ...]
    questions: tuple[Intervention, ...]
    answers: tuple[Answered, ...]
    outputs: tuple[OutputValue, ...]
    closed: tuple[StepRun, ...]

    @property
    def answered_at(self) -> float | None:
        """When the last question was closed, in seconds since the epoch; None where the task has begun anything since.

        A task gives up its place for a question, and takes it again before it begins anything.
        """
        if self.task.state is not TaskState.RUNNING or self.questions or not self.closed:
            return None
        at = max(run.finished_at or 0.0 for run in self.closed)
        began = any(attempt.granted_at > at for attempt in self.attempts)
        unstarted = (run.since for run in self.runs if run.state is StepState.WAITING or run.started_at is None)
        return None if began or any((since or 0.0) > at for since in unstarted) else at


def new_ticket(task: TaskId, step: int, number: int) -> TicketId:
    """Name an attempt; the random part keeps tickets of different states apart on one machine."""
    return TicketId(f"{task}-{step + 1}-{number}-{secrets.token_hex(4)}")


def begin_task(task: Task, runs: Sequence[StepRun], turn: Request) -> Callable[[Transaction], Task]:
    """Start a task: its state, its step runs and what it has alone; one that ended in the queue meanwhile stays as it is.

    How many run at a time is each node's own affair, and nothing to be claimed here. Raises OccupiedError.
    """

    def work(tx: Transaction) -> Task:
        now = time.time()
        if not tasks.set_state(tx, task.id, TaskState.RUNNING, "", now):
            return tasks.task(tx, task.id)
        claims.claim(tx, turn.id, [claim for claim in turn.claims if claim.alone], {})
        tasks.put_steps(tx, runs)
        audit.record(tx, Event(now, ENGINE, "start", f"task/{task.id}", revision=task.revision))
        return tasks.task(tx, task.id)

    return work


def settle_step(run: StepRun, state: StepState, reason: str) -> Callable[[Transaction], StepRun]:
    """Bring a step run into a state."""

    def work(tx: Transaction) -> StepRun:
        tasks.set_step(tx, run.task, run.index, state, reason=reason, at=time.time())
        return tasks.step(tx, run.task, run.index)

    return work


def open_question(run: StepRun, question: Intervention) -> Callable[[Transaction], tuple[Task, StepRun]]:
    """Put a step's question to people; from then on its task awaits them."""

    def work(tx: Transaction) -> tuple[Task, StepRun]:
        now = question.asked_at
        results.ask(tx, question)
        tasks.set_step(tx, run.task, run.index, StepState.RUNNING, reason="waits for a person", at=now)
        tasks.set_state(tx, run.task, TaskState.AWAITING_INTERVENTION, _asks(run, question), now)
        worker_leases.end(tx, run.task)
        return tasks.task(tx, run.task), tasks.step(tx, run.task, run.index)

    return work


def close_question(
    run: StepRun, state: StepState, reason: str, *, task_goes_on: bool
) -> Callable[[Transaction], tuple[Task, StepRun]]:
    """Bring a step that asked to its end; its task runs again where nobody else is awaited."""

    def work(tx: Transaction) -> tuple[Task, StepRun]:
        now = time.time()
        tasks.set_step(tx, run.task, run.index, state, reason=reason, at=now)
        left = results.open_interventions(tx, run.task)
        if task_goes_on:
            tasks.set_state(tx, run.task, TaskState.RUNNING, "", now)
        elif left:
            says = _asks(tasks.step(tx, run.task, left[0].step), left[0])
            tasks.set_state(tx, run.task, TaskState.AWAITING_INTERVENTION, says, now)
        return tasks.task(tx, run.task), tasks.step(tx, run.task, run.index)

    return work


def expire_question(
    run: StepRun, reason: str, *, task_goes_on: bool
) -> Callable[[Transaction], tuple[Task, StepRun] | None]:
    """Let a step fail that nobody has answered in time; None, and it stays, where that was done at the last moment."""
    close = close_question(run, StepState.FAILED, reason, task_goes_on=task_goes_on)

    def work(tx: Transaction) -> tuple[Task, StepRun] | None:
        asked = results.intervention(tx, run.task, run.index)
        return None if asked is not None and asked.decision else close(tx)

    return work


def _asks(run: StepRun, question: Intervention) -> str:
    first_line = question.instructions.strip().partition("\n")[0]
    return f'"{run.name}": {first_line}'


def move_task(number: TaskId, state: TaskState, reason: str) -> Callable[[Transaction], Task]:
    """Bring a task that has not ended into a state."""

    def work(tx: Transaction) -> Task:
        tasks.set_state(tx, number, state, reason, time.time())
        return tasks.task(tx, number)

    return work


def begin_to_cancel(number: TaskId) -> Callable[[Transaction], Task]:
    """Let a task that somebody wants cancelled end."""

    def work(tx: Transaction) -> Task:
        tasks.set_state(tx, number, TaskState.CANCELLING, _cancelled(tx, tasks.task(tx, number)), time.time())
        return tasks.task(tx, number)

    return work


def cancelled_by(actor: str, notes: str) -> str:
    """Say who has cancelled a task, and with which notes."""
    return f"cancelled by {actor}{f': {notes}' if notes else ''}"


def _cancelled(tx: Transaction, task: Task) -> str:
    """Say who has cancelled a task, and why as the audit tells it, of whoever was the first."""
    told = audit.page(tx, 0, selection=audit.Selection(actor=task.cancel_by, subject=f"task/{task.id}"))
    notes = next((link.event.detail for link in told if link.event.action in {"cancel", "supersede"}), "")
    return cancelled_by(task.cancel_by, notes)


def end_task(
    task: Task, runs: Iterable[StepRun], end: End, abandoned: Iterable[TicketId] = ()
) -> Callable[[Transaction], Task]:
    """Bring a task to its end; steps that never began are settled with it, abandoned attempts keep what they held alone.

    A task that was cancelled is abandoned where an attempt was given up, and nobody knows whether it has stopped.
    """

    def work(tx: Transaction) -> Task:
        now, state, reason = time.time(), end.state, end.reason
        if state is TaskState.CANCELLED and (lost := attempts.given_up(tx, task.id)):
            state, reason = TaskState.ABANDONED, unknown(lost)
        elif state is TaskState.CANCELLED and (told := tasks.task(tx, task.id)).cancel_by:
            reason = _cancelled(tx, told)
        for run in runs:
            if not run.state.ended:
                tasks.set_step(tx, task.id, run.index, StepState.SKIPPED, reason="the task has ended", at=now)
        tasks.set_state(tx, task.id, state, reason, now)
        worker_leases.end(tx, task.id)
        claims.release(tx, f"task/{task.id}")
        for left in abandoned:
            claims.release(tx, left, lost=True)
        audit.record(tx, Event(now, ENGINE, "end", f"task/{task.id}", state.value, task.revision, reason))
        return tasks.task(tx, task.id)

    return work


def task_facts(number: TaskId, sealer: Sealer) -> Callable[[Transaction], TaskFacts]:
    """Read everything of one task."""

    def work(tx: Transaction) -> TaskFacts:
        runs = tasks.steps(tx, number)
        answers = []
        questions, closed = [], []
        for run in runs:
            asked = results.intervention(tx, number, run.index)
            if asked is not None and asked.decision:
                answers.append(Answered(run.index, asked.decision, asked.decided_by, asked.notes))
            if asked is not None and not run.state.ended:
                questions.append(asked)
            elif asked is not None:
                closed.append(run)
        return TaskFacts(
            task=tasks.task(tx, number),
            runs=tuple(runs),
            attempts=tuple(attempts.attempts(tx, number)),
            questions=tuple(questions),
            answers=tuple(answers),
            outputs=tuple(results.outputs(tx, number, sealer)),
            closed=tuple(closed),
        )

    return work
