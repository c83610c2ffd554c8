"""The audit: who did what to which thing, in the order of commits, never changed."""

from collections.abc import Sequence

from reconciler.model.live import Event
from reconciler.store.counters import last_number, next_number
from reconciler.store.database import Row, Transaction

EVENTS_MAX = 1_000  # one page; the next begins after its last id

_SELECT = "SELECT at, actor, action, subject, outcome, revision, detail, id FROM events "  # as Event


def record(tx: Transaction, event: Event) -> int:
    """Write `event` under the next number, whatever its own says, and return that."""
    return record_all(tx, (event,))


def record_all(tx: Transaction, events: Sequence[Event]) -> int:
    """Write `events` under the next numbers, whatever their own say, and return the last of these."""
    last = next_number(tx, "event", len(events))
    tx.many(
        "INSERT INTO events (id, at, actor, action, subject, outcome, revision, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (number, event.at, event.actor, event.action, event.subject, event.outcome, event.revision, event.detail)
            for number, event in enumerate(events, last - len(events) + 1)
        ],
    )
    return last


def events(tx: Transaction, after: int = 0, limit: int = EVENTS_MAX, subject: str | None = None) -> list[Event]:
    """Return the first `limit` events after the one numbered `after`, of one subject or of all, the oldest first."""
    if subject is None:
        rows = tx.all(_SELECT + "WHERE id > ? ORDER BY id LIMIT ?", after, limit)
    else:
        rows = tx.all(_SELECT + "WHERE subject = ? AND id > ? ORDER BY id LIMIT ?", subject, after, limit)
    return [_event(row) for row in rows]


def newest(tx: Transaction, limit: int) -> list[Event]:
    """Return the last `limit` events, the oldest of them first."""
    return events(tx, after=max(0, last_number(tx, "event") - limit), limit=limit)


def _event(row: Row) -> Event:
    return Event(*row)
