"""Attempts: granted one at a time per step run, ended once, each under a token that rises."""

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


def grant(tx: Transaction, attempt: Attempt, request: str = "") -> None:
    """Write a granted attempt and what it was asked as, in JSON.

    Raises Conflict while another one of the same step run lives (G2).
    """
    assert attempt.state is AttemptState.GRANTED, "an attempt begins granted"
    live = tx.one(
        "SELECT ticket, worker FROM attempts WHERE task = ? AND step = ? AND finished_at IS NULL AND lost_at IS NULL",
        attempt.task,
        attempt.step,
    )
    if live is not None:
        raise Conflict(
            f"step {attempt.step} of task {attempt.task} has a live attempt already: ticket {live[0]} on {live[1]}",
            "it ends by itself, or by `reconcile cancel`",
        )
    tx.execute(
        "INSERT INTO attempts (ticket, task, step, number, worker, token, state, spec, decision, ending, granted_at,"
        " log_length, log_digest, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0, '', ?)",
        *(attempt.ticket, attempt.task, attempt.step, attempt.number, attempt.worker, attempt.token),
        *(attempt.state.value, attempt.spec, attempt.decision, attempt.granted_at, request),
    )


def started(tx: Transaction, ticket: str, at: float) -> bool:
    """Record the first proof that the script may have started; False where it was known or the attempt has ended."""
    changed = tx.execute(
        "UPDATE attempts SET state = ?, started_at = ? WHERE ticket = ? AND state = ?",
        *(AttemptState.RUNNING.value, at, ticket, AttemptState.GRANTED.value),
    )
    return changed == 1


def ended(tx: Transaction, ticket: str, ending: str, at: float, *, log_length: int, log_digest: str) -> bool:
    """Record how an attempt ended, exactly once (G5); False, and nothing changes, where that is known or it is not.

    `ending` is JSON; length in bytes and digest are those of its log.
    """
    changed = tx.execute(
        "UPDATE attempts SET state = ?, ending = ?, finished_at = ?, log_length = ?, log_digest = ?"
        " WHERE ticket = ? AND finished_at IS NULL",
        *(AttemptState.ENDED.value, ending, at, log_length, log_digest, ticket),
    )
    return changed == 1


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
