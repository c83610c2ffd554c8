"""The audit in pages: whoever goes on behind an event that is not there is told so, and not that nothing happened."""

from reconciler.model.errors import Conflict
from reconciler.model.live import Event
from reconciler.store import audit
from reconciler.store.audit import Selection
from reconciler.store.database import Transaction


def events_behind(tx: Transaction, after: int, limit: int, selection: Selection) -> list[Event]:
    """Return the first `limit` events of a selection behind one; raises Conflict as `check_begin` does."""
    check_begin(tx, after)
    return [link.event for link in audit.page(tx, after, limit, selection)]


def check_begin(tx: Transaction, after: int) -> None:
    """Raise Conflict where no event has come as far as the one numbered `after`."""
    if after > (last := audit.end(tx).event):
        raise Conflict(
            f"there is no event {after} to go on behind: the last one is {last}",
            "the state was restored, or is another; begin anew behind 0",
        )
