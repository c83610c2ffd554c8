"""`reconcile audit`: look at who did what, check that nothing of it was changed, and take it elsewhere."""

import time
from functools import partial
from pathlib import Path

import click

from reconciler.cli.desk import Desk, Listing
from reconciler.cli.options import Command, at_desk
from reconciler.cli.output import table
from reconciler.cli.until import is_span, moment_of, seconds_of
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import StateUnreadable
from reconciler.model.live import Event
from reconciler.plan.text import shown_revision
from reconciler.server.state.times import stamp
from reconciler.store import audit
from reconciler.store.chain import Broken, Whole
from reconciler.store.exports import check_export

PLAN_SHOWN = 12  # characters of a plan's digest in a table


def selecting(function: Command) -> Command:
    """Add what events are chosen by."""
    options = (
        click.option(
            "--since", metavar="TIME", help="From then on: a span before now such as 24h, or 2030-01-31T06:00Z."
        ),
        click.option("--until", metavar="TIME", help="Before then; given in the same way."),
        click.option("--actor", metavar="NAME", help="Of this one only."),
        click.option("--subject", metavar="ADDRESS", help="About this object only, or task/NUMBER."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group("audit", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Show who did what from where, check that nothing of it was changed since, and take it elsewhere."""


@command.command("list")
@selecting
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="At most the last this many."
)
@at_desk
def list_events(
    *, since: str | None, until: str | None, actor: str | None, subject: str | None, limit: int, desk: Desk
) -> int:
    """List events, the oldest first, with where they came from."""
    found = desk.events(Listing(None, limit, _selection(since, until, actor, subject)))
    table(("EVENT", "AT", "ACTOR", "FROM", "ACTION", "SUBJECT", "OUTCOME", "REVISION", "PLAN"), map(_row, found))
    return 0


@command.command("export")
@selecting
@at_desk
def export_events(*, since: str | None, until: str | None, actor: str | None, subject: str | None, desk: Desk) -> int:
    """Print events as JSON, one a line, each with the hash that `verify` looks at."""
    for line in desk.exported(_selection(since, until, actor, subject)):
        click.echo(line)
    return 0


@command.command("verify")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@partial(at_desk, but_with="file")
def verify(*, file: Path | None, desk: Desk) -> int:
    """Check that no event was changed, removed, inserted or moved: in the state, or in a FILE that was exported."""
    if file is None:
        click.echo(_said(_holding(desk.checked())))
        return 0
    with file.open("rb") as lines:
        checked = check_export(lines)
    found = _holding(checked.found)
    if checked.whole:
        click.echo(_said(found))
    else:
        said = "of a selection, as they were recorded; whether one is missing cannot be told."
        click.echo(f"{_count(found.count)} {said}")
    return 0


def _holding(found: Whole | Broken) -> Whole:
    """Return what holds; raises StateUnreadable where a chain is broken."""
    if isinstance(found, Broken):
        raise StateUnreadable(
            f"the audit is broken at event {found.event} ({found.how}): {found.seen}",
            "compare it with an export that was kept elsewhere",
        )
    return found


def _said(found: Whole) -> str:
    if not found.count:
        return "There are no events yet."
    return f"{_count(found.count)}, {found.first} to {found.head.event}, as they were recorded. The last: {found.head.hash}"


def _count(count: int) -> str:
    return f"{count} event{'s' if count != 1 else ''}"


def _selection(since: str | None, until: str | None, actor: str | None, subject: str | None) -> audit.Selection:
    return audit.Selection(_moment("--since", since), _moment("--until", until), actor, subject)


def _moment(option: str, text: str | None) -> float | None:
    """Return the seconds since the epoch of a time, or of a span before now; raises UsageMistake."""
    if text is None:
        return None
    return time.time() - seconds_of(option, text) if is_span(text) else moment_of(option, text)


def _row(event: Event) -> tuple[str, ...]:
    return (
        str(event.id), stamp(event.at), event.actor, event.origin, event.action, event.subject, event.outcome,
        shown_revision(event.revision) if event.revision else "", event.plan[:PLAN_SHOWN],
    )  # fmt: skip
