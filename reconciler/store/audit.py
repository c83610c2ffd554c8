"""The audit: who did what to which thing, in the order of commits, chained so that no change of it goes unseen.

An event is written in the transaction of what it tells. Nothing changes one; only `prune` removes the oldest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.model.errors import Conflict, StateUnreadable
from reconciler.model.live import Event
from reconciler.model.spec import canonical_json
from reconciler.store.chain import PRUNE, Broken, Head, Link, Whole, check, tie
from reconciler.store.database import Row, Transaction, Value

EVENTS_MAX = 1_000  # one page; the next begins after its last id

_SELECT = (  # as Event, and then as Link
    "SELECT at, actor, action, subject, outcome, revision, detail, id,"
    " kind, origin, space, plan, before, after, previous, hash FROM events "
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: from `since` on and before `until`, in seconds since the epoch; of one actor, of one subject."""

    since: float | None = None
    until: float | None = None
    actor: str | None = None
    subject: str | None = None

    @property
    def clauses(self) -> tuple[str, tuple[Value, ...]]:
        """The conditions in SQL, each with `AND` before it, and their values."""
        wanted: Sequence[tuple[str, Value]] = (
            (" AND at >= ?", self.since),
            (" AND at < ?", self.until),
            (" AND actor = ?", self.actor),
            (" AND subject = ?", self.subject),
        )
        given = [(clause, value) for clause, value in wanted if value is not None]
        return "".join(clause for clause, _ in given), tuple(value for _, value in given)


ALL = Selection()


def record(tx: Transaction, event: Event) -> int:
    """Write `event` under the next number, whatever its own says, and return that."""
    return record_all(tx, (event,))


def record_all(tx: Transaction, events: Sequence[Event]) -> int:
    """Write `events` under the next numbers, whatever their own say, and return the last of these.

    Raises StateUnreadable where the end of the chain is missing, Conflict where another writer has moved it.
    """
    begin, space = _end(tx)
    last, links = begin, []
    for event in events:
        told = replace(event, at=float(event.at), id=last.event + 1, space=space, detail=_storable(event.detail))
        link = tie(told, last.hash)
        links.append(link)
        last = link.head
    tx.many(
        "INSERT INTO events (at, actor, action, subject, outcome, revision, detail, id,"
        " kind, origin, space, plan, before, after, previous, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_row(link) for link in links],
    )
    _move(tx, begin, last)
    return last.event


def _storable(text: str) -> str:
    """Return a text as every database gives it back: U+0000 is �, or the chain would not fit what is stored."""
    return text.replace("\0", "\ufffd")


def events(tx: Transaction, after: int = 0, limit: int = EVENTS_MAX, subject: str | None = None) -> list[Event]:
    """Return the first `limit` events after the one numbered `after`, of one subject or of all, the oldest first."""
    return [link.event for link in page(tx, after, limit, Selection(subject=subject))]


def newest(tx: Transaction, limit: int, selection: Selection = ALL) -> list[Event]:
    """Return the last `limit` events of a selection, the oldest of them first."""
    clauses, values = selection.clauses
    rows = tx.all(_SELECT + f"WHERE id > 0{clauses} ORDER BY id DESC LIMIT ?", *values, limit)
    return [_link(row).event for row in reversed(rows)]


def page(tx: Transaction, after: int, limit: int = EVENTS_MAX, selection: Selection = ALL) -> list[Link]:
    """Return the first `limit` events of a selection after the one numbered `after`, as they stand in the chain."""
    clauses, values = selection.clauses
    return [_link(row) for row in tx.all(_SELECT + f"WHERE id > ?{clauses} ORDER BY id LIMIT ?", after, *values, limit)]


def end(tx: Transaction) -> Head:
    """Return the last event that was recorded; raises StateUnreadable where the state does not tell any more."""
    return _end(tx)[0]


def verify(tx: Transaction) -> Whole | Broken:
    """Go through the whole chain, and say that it holds or where it is broken first; raises as `end` does."""
    return check(_links(tx), end(tx))


def prune(tx: Transaction, before: float, now: float) -> int:
    """Remove the oldest events, as far as all of them are from before a time; return how many.

    The chain still holds: a new event tells up to which one, and its hash. Times are in seconds since the epoch.
    """
    row = tx.one(
        "SELECT id, hash FROM events WHERE id < COALESCE((SELECT MIN(id) FROM events WHERE at >= ?),"
        " (SELECT event + 1 FROM heads)) ORDER BY id DESC LIMIT 1",
        before,
    )
    if row is None:
        return 0
    last = Head(*row)
    told = canonical_json({"event": last.event, "hash": last.hash})
    detail = f"the events up to {last.event} are removed"
    record(tx, Event(now, "engine", PRUNE, "audit", detail=detail, after=told))
    return tx.execute("DELETE FROM events WHERE id <= ?", last.event)


def chain_all(tx: Transaction) -> None:
    """Chain the events that were recorded before there was a chain."""
    begin, space = _end(tx)
    if begin.hash or not begin.event:
        return
    last = Head()
    for unchained in _links(tx):
        link = tie(replace(unchained.event, space=space), last.hash)
        tx.execute(
            "UPDATE events SET space = ?, previous = ?, hash = ? WHERE id = ?",
            *(space, link.previous, link.hash, link.event.id),
        )
        last = link.head
    _move(tx, begin, last)


def _links(tx: Transaction) -> Iterator[Link]:
    """Yield the whole chain, a page at a time."""
    after = 0
    while found := page(tx, after):
        yield from found
        after = found[-1].event.id


def _end(tx: Transaction) -> tuple[Head, str]:
    """Return the last event, and the space that this state belongs to."""
    row = tx.one("SELECT event, hash, COALESCE((SELECT space FROM bindings), '') FROM heads")
    if row is None:
        raise StateUnreadable(
            "the state does not tell which event of the audit is the last", "restore the state from a backup"
        )
    return Head(row[0], row[1]), row[2]


def _move(tx: Transaction, begin: Head, last: Head) -> None:
    """Make `last` the last event in place of `begin`; a second writer that has read the same one fails here."""
    moved = tx.execute(
        "UPDATE heads SET event = ?, hash = ? WHERE event = ? AND hash = ?",
        *(last.event, last.hash),
        *(begin.event, begin.hash),
    )
    if moved != 1:
        raise Conflict("another writer has recorded events at the same moment", "run the command again")


def _row(link: Link) -> tuple[Value, ...]:
    event = link.event
    return (
        *(event.at, event.actor, event.action, event.subject, event.outcome, event.revision, event.detail, event.id),
        *(str(event.kind), event.origin, event.space, event.plan, event.before, event.after, link.previous, link.hash),
    )


def _link(row: Row) -> Link:
    return Link(Event(*row[:-2]), row[-2], row[-1])
