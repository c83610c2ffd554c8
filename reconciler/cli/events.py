"""`reconcile events`: who did what, and how it ended."""

import click

from reconciler.cli.options import located
from reconciler.cli.output import json_list, table
from reconciler.model.live import Event
from reconciler.plan.text import shown_revision
from reconciler.server.looking import looking
from reconciler.server.place import Place
from reconciler.server.times import stamp
from reconciler.store import audit
from reconciler.store.database import Transaction


@click.command("events")
@click.option("--after", type=int, help="Only events after this number; without it, the last ones.")
@click.option("--subject", metavar="ADDRESS", help="Only this object, or task/NUMBER.")
@click.option("--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="At most this many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def command(
    *,
    after: int | None,
    subject: str | None,
    limit: int,
    as_json: bool,
    place: Place,
) -> int:
    """List who did what to which thing, the oldest first."""
    with looking(place) as readers:
        found = readers.read_now(lambda tx: _found(tx, after, limit, subject))
    if as_json:
        json_list(map(record, found))
    else:
        table(("EVENT", "AT", "ACTOR", "ACTION", "SUBJECT", "OUTCOME", "REVISION", "DETAIL"), map(_row, found))
    return 0


def _found(tx: Transaction, after: int | None, limit: int, subject: str | None) -> list[Event]:
    if after is None and subject is None:
        return audit.newest(tx, limit)
    return audit.events(tx, after or 0, limit, subject)


def _row(event: Event) -> tuple[str, ...]:
    return (
        str(event.id), stamp(event.at), event.actor, event.action, event.subject, event.outcome,
        shown_revision(event.revision) if event.revision else "", event.detail.split("\n", 1)[0],
    )  # fmt: skip


def record(event: Event) -> dict[str, object]:
    """Return an event as JSON."""
    return {
        "type": "event",
        "event": event.id,
        "at": stamp(event.at),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "outcome": event.outcome,
        "revision": event.revision,
        "detail": event.detail,
    }
