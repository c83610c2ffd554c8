"""What is written of attempts, of many tasks together in as few statements as of one: starts, ends, grants."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Generic, Self

from reconciler.execute.endings import between
from reconciler.execute.leasing import claims_of, recorded
from reconciler.model.live import (
    Attempt,
    AttemptState,
    OutputValue,
    StepRun,
    StepState,
    StoredArtifact,
    Task,
    TaskId,
)
from reconciler.model.work import Step
from reconciler.protocol.objects import dumped
from reconciler.protocol.tickets import Final, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.outcomes import Outcome
from reconciler.schedule.placement import Placed
from reconciler.schedule.requests import Grant
from reconciler.store import attempts, claims, objects, overrides, results, tasks, worker_leases
from reconciler.store.claims import OccupiedError, Wish
from reconciler.store.database import Joint, T, Transaction, Work
from reconciler.store.keys import Sealer
from reconciler.store.tasks import StepMove


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended or that it is `lost`, what that means for its step, and who waits for the record.

    `pause` is seconds until the next attempt, None where there is none; `at` is in seconds since the epoch.
    """

    attempt: Attempt
    final: Final = field(repr=False)
    step: Step
    outcome: Outcome
    pause: float | None
    at: float
    lost: bool = False
    """It is given up, and may live."""
    recorded: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def move(self) -> StepMove:
        """What becomes of the step run."""
        state, reason = self.outcome.state, self.outcome.reason
        if self.pause is not None:
            state = StepState.RUNNING
            reason = between(self.attempt.number, self.step.retry, reason, self.pause)
        return StepMove(self.attempt.task, self.attempt.step, state, reason, self.at)


@dataclass(frozen=True, slots=True)
class Granting:
    """One attempt that the scheduler has placed, and the bounds that it was placed within."""

    task: Task
    index: int
    number: int
    placed: Placed
    spec: TicketSpec
    grant: Grant
    capacities: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Granted:
    """An attempt that was granted, its ticket with the tokens of what it claims, and its step run."""

    attempt: Attempt
    spec: TicketSpec
    run: StepRun


@dataclass(frozen=True, slots=True)
class Entry(Joint[tuple[list[StepRun], T]], Generic[T]):
    """What one task writes at a time: attempts that have started, by ticket and time, ends, and then `work`.

    It returns the step runs of the ends, and what `work` returns.
    """

    starts: Mapping[str, float]
    endings: Sequence[Ending]
    sealer: Sealer = field(repr=False)
    work: Work[T] | Granting

    @classmethod
    def together(cls, tx: Transaction, works: Sequence[Self]) -> list[tuple[list[StepRun], Any]]:
        """Record what has started and ended in all entries; then grant, which may lean on the room that this makes."""
        attempts.started(tx, {ticket: at for entry in works for ticket, at in entry.starts.items()})
        runs = iter(end_attempts(tx, [(ending, entry.sealer) for entry in works for ending in entry.endings]))
        ended = [list(islice(runs, len(entry.endings))) for entry in works]
        granted = iter(grant_attempts(tx, [entry.work for entry in works if isinstance(entry.work, Granting)]))
        results = [next(granted) if isinstance(entry.work, Granting) else entry.work(tx) for entry in works]
        return list(zip(ended, results, strict=True))


def grant_attempts(tx: Transaction, grantings: Sequence[Granting]) -> list[Granted | None]:
    """Grant attempts: what each claims is claimed, its row and its step's state are written; only then it is offered.

    Nothing is granted, and None stands for it, where the worker is not registered any more, for nobody would speak with
    it, where a person drains it since it was chosen, where one has cancelled the task, and where what the scheduler
    takes for free is not.
    """
    now = time.time()
    barred = _barred(tx, {one.placed.worker for one in grantings}, now)
    cancelled = tasks.cancelled(tx, {one.task.id for one in grantings})
    admitted = [one for one in grantings if one.placed.worker not in barred and one.task.id not in cancelled]
    tokens = claims.claim_all(
        tx, [Wish(one.spec.ticket, tuple(claims_of(one.grant)), one.capacities) for one in admitted]
    )
    granted = {
        one.spec.ticket: _granted(one, found, now)
        for one, found in zip(admitted, tokens, strict=True)
        if not isinstance(found, OccupiedError)
    }
    made = [(one, granted[one.spec.ticket]) for one in admitted if one.spec.ticket in granted]
    worker_leases.lease(tx, [(one.task.id, one.grant.request.lease_key, one.placed.worker) for one, _ in made])
    attempts.grant(tx, [(attempt, recorded(one.grant.request)) for one, (attempt, _) in made])
    runs = _moved(tx, [StepMove(one.task.id, one.index, StepState.RUNNING, one.placed.because, now) for one, _ in made])
    done = {one.spec.ticket: Granted(*found, run) for (one, found), run in zip(made, runs, strict=True)}
    return [done.get(one.spec.ticket) for one in grantings]


def end_attempts(tx: Transaction, endings: Sequence[tuple[Ending, Sealer]]) -> list[StepRun]:
    """Record how attempts ended, with what they left, and what that means for their steps, which are returned.

    What a lost one does from now on is recorded and changes nothing.
    """
    for ending, _ in endings:
        if ending.lost:
            attempts.lose(tx, ending.attempt.ticket, ending.at)
            claims.release(tx, ending.attempt.ticket, lost=True)
    told = [(ending, sealer) for ending, sealer in endings if not ending.lost]
    news = record_endings(tx, [(ending.final, ending.at) for ending, _ in told])
    known = [ending.final.ticket for ending, _ in told if ending.final.ticket not in news]
    assert not known, f"attempt {known[0]} was ended by somebody who does not conduct its task"
    for ending, sealer in told:
        _keep(tx, ending, sealer)
    return _moved(tx, [ending.move for ending, _ in endings])


def record_endings(tx: Transaction, finals: Iterable[tuple[Final, float]]) -> set[str]:
    """Record how attempts ended, each once, and free what they held; return the tickets of which it is news.

    Times are in seconds since the epoch.
    """
    ended = [
        attempts.Ended(final.ticket, _without_outputs(final), at, final.log_length, final.log_digest)
        for final, at in finals
    ]
    claims.release_all(tx, [one.ticket for one in ended])
    return attempts.ended(tx, ended)


def record_ending(final: Final, at: float) -> Work[bool]:
    """Record how one attempt ended that nobody waits for; False where that was known."""
    return lambda tx: final.ticket in record_endings(tx, [(final, at)])


def _barred(tx: Transaction, workers: Iterable[str], now: float) -> set[str]:
    """Return the workers that get nothing: they are not registered, or a person drains them."""
    chosen = set(workers)
    here = {BUILTIN, *objects.present(tx, "Worker", chosen)}
    return (chosen - here) | overrides.draining(tx, chosen, now)


def _granted(one: Granting, tokens: dict[str, int], now: float) -> tuple[Attempt, TicketSpec]:
    fenced = replace(one.spec, lease_tokens=tokens)
    attempt = Attempt(
        ticket=one.spec.ticket,
        task=one.task.id,
        step=one.index,
        number=one.number,
        worker=one.placed.worker,
        token=tokens[f"worker/{one.placed.worker}"],
        state=AttemptState.GRANTED,
        spec=dumped(fenced).decode("utf-8", "surrogatepass"),
        decision=one.placed.decision,
        granted_at=now,
    )
    return attempt, fenced


def _keep(tx: Transaction, ending: Ending, sealer: Sealer) -> None:
    """Write the outputs and artifacts that an attempt left."""
    final, task, key = ending.final, ending.attempt.task, ending.step.key
    if final.outputs:
        outputs = [OutputValue(key, found.name, found.value, found.sensitive) for found in final.outputs]
        results.put_outputs(tx, task, outputs, sealer)
    if final.artifacts:
        artifacts = [StoredArtifact(task, key, final.ticket, one.name, one.size, one.digest) for one in final.artifacts]
        results.put_artifacts(tx, artifacts)


def _moved(tx: Transaction, moves: Sequence[StepMove]) -> list[StepRun]:
    """Move step runs on and return each as it is now, also one that had ended."""
    moved = tasks.set_steps(tx, moves)
    return [moved.get((TaskId(one.task), one.index)) or tasks.step(tx, one.task, one.index) for one in moves]


def _without_outputs(final: Final) -> str:
    """Write a final as its attempt's row keeps it: outputs are kept apart, sealed."""
    return dumped(replace(final, outputs=())).decode("utf-8", "surrogatepass")
