"""What a running task writes: each function makes one transaction whole, so a kill leaves all of it or nothing."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.execute.leasing import claims_of, recorded
from reconciler.model.live import (
    Attempt,
    AttemptState,
    Event,
    Intervention,
    OutputValue,
    StepRun,
    StepState,
    StoredArtifact,
    Task,
    TaskId,
    TaskState,
)
from reconciler.model.spec import Address
from reconciler.model.work import Retry, Step
from reconciler.protocol.objects import dumped
from reconciler.protocol.tickets import Final, TicketId, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.outcomes import Outcome
from reconciler.schedule.placement import Placed
from reconciler.schedule.progress import End
from reconciler.schedule.requests import Grant, Request
from reconciler.steps.jobs import ManualJob
from reconciler.store import attempts, audit, claims, objects, overrides, results, tasks, worker_leases
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
    """Everything that a task's run is rebuilt from; `questions` are those of steps that have not ended."""

    task: Task
    runs: tuple[StepRun, ...]
    attempts: tuple[Attempt, ...]
    questions: tuple[Intervention, ...]
    answers: tuple[Answered, ...]
    outputs: tuple[OutputValue, ...]


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


def grant_attempt(
    task: Task,
    index: int,
    number: int,
    *,
    placed: Placed,
    spec: TicketSpec,
    grant: Grant,
    capacities: Mapping[str, int],
) -> Callable[[Transaction], tuple[Attempt, TicketSpec, StepRun] | None]:
    """Grant one attempt: what it claims is claimed, its row and its step's state are written; only then it is offered.

    Nothing is granted, and None returned, on a worker that is not registered any more, for nobody would speak with it,
    or that a person drains since it was chosen.
    Raises OccupiedError where what the scheduler takes for free is not.
    """

    def work(tx: Transaction) -> tuple[Attempt, TicketSpec, StepRun] | None:
        if placed.worker != BUILTIN and objects.one(tx, Address("Worker", placed.worker)) is None:
            return None
        now = time.time()
        if overrides.of(tx, placed.worker, now) is not None:
            return None
        tokens = claims.claim(tx, spec.ticket, claims_of(grant), capacities)
        worker_leases.lease(tx, task.id, grant.request.lease_key, placed.worker)
        fenced = replace(spec, lease_tokens=tokens)
        attempt = Attempt(
            ticket=spec.ticket,
            task=task.id,
            step=index,
            number=number,
            worker=placed.worker,
            token=tokens[f"worker/{placed.worker}"],
            state=AttemptState.GRANTED,
            spec=dumped(fenced).decode("utf-8", "surrogatepass"),
            decision=placed.decision,
            granted_at=now,
        )
        attempts.grant(tx, attempt, recorded(grant.request))
        tasks.set_step(tx, task.id, index, StepState.RUNNING, reason=placed.because, at=now)
        return attempt, fenced, tasks.step(tx, task.id, index)

    return work


def start_attempts(begun: Iterable[Attempt]) -> Callable[[Transaction], None]:
    """Record the first signs that attempts have started."""

    def work(tx: Transaction) -> None:
        for attempt in begun:
            assert attempt.started_at is not None
            attempts.started(tx, attempt.ticket, attempt.started_at)

    return work


def record_ending(final: Final, at: float) -> Callable[[Transaction], bool]:
    """Record how an attempt ended, once; alone where nobody conducts its task any more, as one that was abandoned."""

    def work(tx: Transaction) -> bool:
        ending = dumped(replace(final, outputs=())).decode("utf-8", "surrogatepass")  # outputs are kept apart, sealed
        claims.release(tx, final.ticket)
        return attempts.ended(tx, final.ticket, ending, at, log_length=final.log_length, log_digest=final.log_digest)

    return work


def end_attempt(
    attempt: Attempt, final: Final, step: Step, sealer: Sealer, *, outcome: Outcome, pause: float | None, at: float
) -> Callable[[Transaction], StepRun]:
    """Record an attempt's end with its outputs and artifacts, and what it means for the step."""

    def work(tx: Transaction) -> StepRun:
        is_first = record_ending(final, at)(tx)
        assert is_first, f"attempt {attempt.ticket} was ended by somebody who does not conduct its task"
        outputs = [OutputValue(step.key, found.name, found.value, found.sensitive) for found in final.outputs]
        results.put_outputs(tx, attempt.task, outputs, sealer)
        results.put_artifacts(
            tx,
            [
                StoredArtifact(attempt.task, step.key, attempt.ticket, found.name, found.size, found.digest)
                for found in final.artifacts
            ],
        )
        state, reason = outcome.state, outcome.reason
        if pause is not None:
            state = StepState.RUNNING
            reason = f"attempt {attempt.number} of {step.retry.attempts}: {reason}; the next one in {pause:g} s"
        tasks.set_step(tx, attempt.task, attempt.step, state, reason=reason, at=at)
        return tasks.step(tx, attempt.task, attempt.step)

    return work


def lose_attempt(
    attempt: Attempt, outcome: Outcome, retry: Retry, *, pause: float | None, at: float
) -> Callable[[Transaction], StepRun]:
    """Give an attempt up whose worker is silent; what it does from now on is recorded and changes nothing."""

    def work(tx: Transaction) -> StepRun:
        attempts.lose(tx, attempt.ticket, at)
        claims.release(tx, attempt.ticket, lost=True)
        state, reason = outcome.state, outcome.reason
        if pause is not None:
            state = StepState.RUNNING
            reason = f"attempt {attempt.number} of {retry.attempts}: {reason}; the next one in {pause:g} s"
        tasks.set_step(tx, attempt.task, attempt.step, state, reason=reason, at=at)
        return tasks.step(tx, attempt.task, attempt.step)

    return work


def settle_step(run: StepRun, state: StepState, reason: str) -> Callable[[Transaction], StepRun]:
    """Bring a step run into a state."""

    def work(tx: Transaction) -> StepRun:
        tasks.set_step(tx, run.task, run.index, state, reason=reason, at=time.time())
        return tasks.step(tx, run.task, run.index)

    return work


def open_question(run: StepRun, job: ManualJob) -> Callable[[Transaction], tuple[Task, StepRun]]:
    """Put a step's question to people; from then on its task awaits them."""

    def work(tx: Transaction) -> tuple[Task, StepRun]:
        now = time.time()
        results.ask(tx, Intervention(run.task, run.index, job.instructions, job.teams, now))
        tasks.set_step(tx, run.task, run.index, StepState.RUNNING, reason="waits for a person", at=now)
        first_line = job.instructions.strip().partition("\n")[0]
        reason = f'"{run.name}": {first_line}'
        tasks.set_state(tx, run.task, TaskState.AWAITING_INTERVENTION, reason, now)
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
        if task_goes_on:
            tasks.set_state(tx, run.task, TaskState.RUNNING, "", now)
        return tasks.task(tx, run.task), tasks.step(tx, run.task, run.index)

    return work


def move_task(number: TaskId, state: TaskState, reason: str) -> Callable[[Transaction], Task]:
    """Bring a task that has not ended into a state."""

    def work(tx: Transaction) -> Task:
        tasks.set_state(tx, number, state, reason, time.time())
        return tasks.task(tx, number)

    return work


def end_task(
    task: Task, runs: Iterable[StepRun], end: End, abandoned: Iterable[TicketId] = ()
) -> Callable[[Transaction], Task]:
    """Bring a task to its end; steps that never began are settled with it, abandoned attempts keep what they held alone.

    A task that was cancelled is abandoned where an attempt was given up, and nobody knows whether it has stopped.
    """

    def work(tx: Transaction) -> Task:
        now, state, reason = time.time(), end.state, end.reason
        if state is TaskState.CANCELLED and (lost := attempts.given_up(tx, task.id)):
            state = TaskState.ABANDONED
            reason = f"cancelled, and {lost} attempt(s) were lost: whether they have stopped is unknown"
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
        questions = []
        for run in runs:
            asked = results.intervention(tx, number, run.index)
            if asked is not None and asked.decision:
                answers.append(Answered(run.index, asked.decision, asked.decided_by, asked.notes))
            if asked is not None and not run.state.ended:
                questions.append(asked)
        return TaskFacts(
            task=tasks.task(tx, number),
            runs=tuple(runs),
            attempts=tuple(attempts.attempts(tx, number)),
            questions=tuple(questions),
            answers=tuple(answers),
            outputs=tuple(results.outputs(tx, number, sealer)),
        )

    return work
