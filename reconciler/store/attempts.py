"""Attempts: granted one at a time per step run, ended once, each under a token that rises."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.errors import Conflict
from reconciler.model.live import Attempt, AttemptState, TaskId
from reconciler.store.database import Row, Transaction

_SELECT = (
    "SELECT ticket, task, step, number, worker, token, state, spec, decision, ending, granted_at, started_at,"
    " finished_at, log_length, log_digest FROM attempts "  # as Attempt
)


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that holds something: it has not ended, or nobody knows whether it has; `request` is JSON."""

    ticket: str
    task: TaskId
    worker: str
    request: str
    lost: bool


def grant(tx: Transaction, granted: Sequence[tuple[Attempt, str]]) -> None:
    """Write granted attempts, each with what it was asked as, in JSON.

    Raises Conflict while another one of the same step run lives (G2).
    """
    assert all(attempt.state is AttemptState.GRANTED for attempt, _ in granted), "an attempt begins granted"
    lives = tx.batch(
        "SELECT column1, column2, (SELECT ticket || ' on ' || worker FROM attempts WHERE task = column1 AND step = column2"
        " AND finished_at IS NULL AND lost_at IS NULL) FROM {rows}",
        ("integer", "integer"),
        [(attempt.task, attempt.step) for attempt, _ in granted],
    )
    for task, step, live in lives:
        if live is not None:
            raise Conflict(
                f"step {step} of task {task} has a live attempt already: ticket {live}",
                "it ends by itself, or by `reconcile cancel`",
            )
    tx.batch(
        "INSERT INTO attempts (ticket, task, step, number, worker, token, state, spec, decision, granted_at, request,"
        " ending, log_length, log_digest) SELECT column1, column2, column3, column4, column5, column6, column7, column8,"
        " column9, column10, column11, '', 0, '' FROM {rows}",
        (*("text", "integer", "integer", "integer", "text", "integer"), *("text", "text", "text", "real", "text")),
        [
            (
                *(one.ticket, one.task, one.step, one.number, one.worker, one.token),
                *(one.state.value, one.spec, one.decision, one.granted_at, request),
            )
            for one, request in granted
        ],
    )


def started(tx: Transaction, begun: Mapping[str, float]) -> set[str]:
    """Record by ticket when the first proof came that its script may have started; return those of whom it is news.

    It is none where that was known or the attempt has ended.
    """
    changed = tx.batch(
        "UPDATE attempts SET state = 'running', started_at = column2 FROM {rows} WHERE ticket = column1"
        " AND state = 'granted' RETURNING ticket",
        ("text", "real"),
        list(begun.items()),
    )
    return {ticket for (ticket,) in changed}


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: `ending` is JSON, length in bytes and digest are those of its log, `at` in seconds."""

    ticket: str
    ending: str
    at: float
    log_length: int
    log_digest: str


def ended(tx: Transaction, endings: Sequence[Ended]) -> set[str]:
    """Record how attempts ended, each exactly once (G5); return the tickets of those whose end was not known."""
    changed = tx.batch(
        "UPDATE attempts SET state = 'ended', ending = column2, finished_at = column3, log_length = column4,"
        " log_digest = column5 FROM {rows} WHERE ticket = column1 AND finished_at IS NULL RETURNING ticket",
        ("text", "text", "real", "integer", "text"),
        [(one.ticket, one.ending, one.at, one.log_length, one.log_digest) for one in endings],
    )
    return {ticket for (ticket,) in changed}


def lose(tx: Transaction, ticket: str, at: float) -> bool:
    """Give an attempt up, so that its step may go on without it; False where it has ended or is lost already."""
    changed = tx.execute(
        "UPDATE attempts SET state = ?, lost_at = ? WHERE ticket = ? AND finished_at IS NULL AND lost_at IS NULL",
        *(AttemptState.LOST.value, at, ticket),
    )
    return changed == 1


def given_up(tx: Transaction, task: TaskId) -> int:
    """Count the attempts of a task that were given up and have not told since how they ended."""
    row = tx.one("SELECT COUNT(*) FROM attempts WHERE task = ? AND lost_at IS NOT NULL AND finished_at IS NULL", task)
    assert row is not None
    return int(row[0])


def attempt(tx: Transaction, ticket: str) -> Attempt | None:
    """Return the attempt under `ticket`."""
    row = tx.one(_SELECT + "WHERE ticket = ?", ticket)
    return _attempt(row) if row else None


def attempts(tx: Transaction, task: TaskId) -> list[Attempt]:
    """Return all attempts of a task, by step and number."""
    return [_attempt(row) for row in tx.all(_SELECT + "WHERE task = ? ORDER BY step, number", task)]


def over(tx: Transaction, tickets: Iterable[str]) -> set[str]:
    """Return those of `tickets` whose end is known."""
    rows = tx.batch(
        "SELECT ticket FROM attempts JOIN {rows} ON ticket = column1 WHERE finished_at IS NOT NULL",
        ("text",),
        [(ticket,) for ticket in tickets],
    )
    return {ticket for (ticket,) in rows}


def live(tx: Transaction, task: TaskId) -> bool:
    """Has an attempt of a task not ended yet?"""
    return tx.one("SELECT 1 FROM attempts WHERE task = ? AND finished_at IS NULL LIMIT 1", task) is not None


def unfinished_on(tx: Transaction, worker: str) -> list[Attempt]:
    """Return the attempts on a worker that have not ended, lost ones included, by task and step."""
    return [
        _attempt(row)
        for row in tx.all(_SELECT + "WHERE finished_at IS NULL AND worker = ? ORDER BY task, step", worker)
    ]


def held(tx: Transaction) -> list[Held]:
    """Return every attempt that holds something: those that have not ended, lost and abandoned ones included.

    Of those nobody waits for any more, only what they held alone is held.
    """
    rows = tx.all(
        "SELECT ticket, task, worker, request, lost_at IS NOT NULL OR tasks.finished_at IS NOT NULL FROM attempts"
        " JOIN tasks ON tasks.id = attempts.task WHERE attempts.finished_at IS NULL ORDER BY attempts.granted_at, ticket"
    )
    return [Held(ticket, TaskId(task), worker, request, bool(lost)) for ticket, task, worker, request, lost in rows]


def worker_epoch(tx: Transaction, worker: str) -> int:
    """Return the epoch of the worker's last session; 0 before the first."""
    row = tx.one("SELECT epoch FROM worker_sessions WHERE worker = ?", worker)
    return int(row[0]) if row else 0


def set_worker_epoch(tx: Transaction, worker: str, epoch: int) -> bool:
    """Record the epoch of a new session; False, and nothing changes, unless it is higher than all before."""
    changed = tx.execute(
        "INSERT INTO worker_sessions (worker, epoch) VALUES (?, ?) ON CONFLICT (worker) DO UPDATE"
        " SET epoch = excluded.epoch WHERE worker_sessions.epoch < excluded.epoch",
        worker,
        epoch,
    )
    return changed == 1


def _attempt(row: Row) -> Attempt:
    ticket, task, step, number, worker, token, state, *rest = row
    return Attempt(ticket, TaskId(task), step, number, worker, token, AttemptState(state), *rest)
