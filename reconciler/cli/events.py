"""`reconcile events`: who did what, and how it ended."""

import click

from reconciler.cli.desk import Desk, Listing
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, table
from reconciler.model.live import Event
from reconciler.plan.text import shown_revision
from reconciler.server.state.times import stamp
from reconciler.store.audit import Selection as Selected


@click.command("events")
@click.option("--after", type=int, help="Only events after this number; without it, the last ones.")
@click.option("--subject", metavar="ADDRESS", help="Only this object, or task/NUMBER.")
@click.option("--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="At most this many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(
    *,
    after: int | None,
    subject: str | None,
    limit: int,
    as_json: bool,
    desk: Desk,
) -> int:
    """List who did what to which thing, the oldest first."""
    found = desk.events(Listing(after, limit, Selected(subject=subject)))
    if as_json:
        json_list(map(record, found))
    else:
        table(("EVENT", "AT", "ACTOR", "ACTION", "SUBJECT", "OUTCOME", "REVISION", "DETAIL"), map(_row, found))
    return 0


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
