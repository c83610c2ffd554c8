"""What of a state is old and needed by nobody, and its removal a batch at a time.

Never touched: tasks that have not ended or have an attempt that has not, the last task of each slot, its newest ones
and the last that succeeded.
"""

from collections.abc import Sequence

from reconciler.model.live import TaskId
from reconciler.store import audit
from reconciler.store.database import Transaction

DAY = 86_400.0

_OF_TASKS = ("artifacts", "outputs", "interventions", "worker_leases", "attempts", "step_runs")
"""Tables with a column `task`, those that name others first."""


def old_tasks(tx: Transaction, before: float, per_slot: int) -> list[TaskId]:
    """Return the tasks that ended before a moment and that nobody needs, the oldest first."""
    rows = tx.all(
        "SELECT id FROM (SELECT id, state, finished_at,"
        " ROW_NUMBER() OVER (PARTITION BY project, environment, tenant ORDER BY id DESC) AS place,"
        " ROW_NUMBER() OVER (PARTITION BY project, environment, tenant, state ORDER BY id DESC) AS place_in_state"
        " FROM tasks) AS ranked WHERE finished_at < ? AND place > ? AND NOT (state = 'succeeded' AND place_in_state = 1)"
        " AND NOT EXISTS (SELECT 1 FROM slots WHERE last_task = ranked.id)"
        " AND NOT EXISTS (SELECT 1 FROM attempts WHERE task = ranked.id AND finished_at IS NULL) ORDER BY id",
        *(before, per_slot),
    )
    return [TaskId(number) for (number,) in rows]


def remove_tasks(tx: Transaction, numbers: Sequence[TaskId]) -> int:
    """Remove tasks with all that belongs to them; return how many."""
    marks = _marks(numbers)
    attempts = f"SELECT ticket FROM attempts WHERE task IN ({marks})"  # noqa: S608 - question marks alone
    tx.execute(f"DELETE FROM left_attempts WHERE ticket IN ({attempts})", *numbers)  # noqa: S608 - question marks alone
    for table in _OF_TASKS:
        tx.execute(f"DELETE FROM {table} WHERE task IN ({marks})", *numbers)  # noqa: S608 - our own tables
    return tx.execute(f"DELETE FROM tasks WHERE id IN ({marks})", *numbers)  # noqa: S608 - question marks alone


def unused_pins(tx: Transaction) -> list[str]:
    """Return the digests of pins that no task names any more."""
    return [digest for (digest,) in tx.all("SELECT digest FROM pins EXCEPT SELECT pin FROM tasks ORDER BY digest")]


def remove_pins(tx: Transaction, digests: Sequence[str]) -> int:
    """Remove pins, unless a task has come to name one; return how many."""
    unused = f"digest IN ({_marks(digests)}) AND NOT EXISTS (SELECT 1 FROM tasks WHERE pin = pins.digest)"  # noqa: S608 - question marks alone
    return tx.execute(f"DELETE FROM pins WHERE {unused}", *digests)  # noqa: S608 - question marks alone


def old_logs(tx: Transaction, before: float) -> list[str]:
    """Return the tickets of logs that ended before a moment, whose tasks have ended as well."""
    rows = tx.all(
        "SELECT ticket FROM attempts JOIN tasks ON tasks.id = attempts.task WHERE attempts.finished_at < ?"
        " AND tasks.finished_at IS NOT NULL AND log_length > 0 ORDER BY ticket",
        before,
    )
    return [ticket for (ticket,) in rows]


def remove_logs(tx: Transaction, tickets: Sequence[str]) -> int:
    """Record that logs are kept no longer: an attempt that has ended and has no digest of its log had one."""
    ours = f"ticket IN ({_marks(tickets)})"
    return tx.execute(f"UPDATE attempts SET log_length = 0, log_digest = '' WHERE {ours}", *tickets)  # noqa: S608 - question marks alone


def old_artifacts(tx: Transaction, before: float) -> list[str]:
    """Return the tickets that left artifacts and ended before a moment, whose tasks have ended as well."""
    rows = tx.all(
        "SELECT DISTINCT attempts.ticket FROM artifacts JOIN attempts ON attempts.ticket = artifacts.ticket"
        " JOIN tasks ON tasks.id = attempts.task WHERE attempts.finished_at < ? AND tasks.finished_at IS NOT NULL"
        " ORDER BY attempts.ticket",
        before,
    )
    return [ticket for (ticket,) in rows]


def remove_artifacts(tx: Transaction, tickets: Sequence[str]) -> int:
    """Record that the artifacts of tickets are kept no longer; return how many there were."""
    return tx.execute(f"DELETE FROM artifacts WHERE ticket IN ({_marks(tickets)})", *tickets)  # noqa: S608 - question marks alone


def last_task(tx: Transaction) -> int:
    """Return the number of the newest task."""
    row = tx.one("SELECT COALESCE(MAX(id), 0) FROM tasks")
    assert row is not None
    return int(row[0])


def pins_since(tx: Transaction, number: int) -> str:
    """Return all that tasks pin which are newer than a number."""
    rows = tx.all("SELECT content FROM pins WHERE digest IN (SELECT pin FROM tasks WHERE id > ?)", number)
    return "\n".join(content for (content,) in rows)


def pinned_files(tx: Transaction) -> list[str]:
    """Return the digests of the script files that are kept for other nodes."""
    return [digest for (digest,) in tx.all("SELECT digest FROM pinned_files ORDER BY digest")]


def remove_pinned_files(tx: Transaction, digests: Sequence[str], newest: int) -> int:
    """Remove script files that no pin named when `newest` was the newest task; return how many."""
    pinned_since = pins_since(tx, newest)
    unused = [digest for digest in digests if digest not in pinned_since]
    if not unused:
        return 0
    return tx.execute(f"DELETE FROM pinned_files WHERE digest IN ({_marks(unused)})", *unused)  # noqa: S608 - question marks alone


def prune_audit(tx: Transaction, before: float, now: float) -> int:
    """Remove the events from before a moment, once a day of them has come together; each time the audit tells of it."""
    row = tx.one("SELECT MIN(at) FROM events")
    if row is None or row[0] is None or row[0] >= before - DAY:
        return 0
    return audit.prune(tx, before, now)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
