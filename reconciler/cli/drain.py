"""`reconcile drain`: give a worker nothing new, by a change of what Git declares or by an override for a time."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.cli.until import seconds_until
from reconciler.cli.worker_states import declare_state
from reconciler.cli.writing import Manner, writing
from reconciler.model.errors import UsageMistake
from reconciler.server.orders.orders import Drain

UNTIL = "24h"
"""How long an override holds where nobody says until when."""


@click.command("drain")
@click.argument("worker")
@click.option("--reason", metavar="TEXT", default="", help="Why; in the commit's message, or shown with the override.")
@click.option("--deadline", metavar="TIME", default="", help="How long running attempts may take, such as 2h.")
@writing
@click.option("--live", is_flag=True, help="Override what Git declares, for a time.")
@click.option(
    "--until",
    metavar="TIME",
    help=f"With --live: a span, or a time in UTC such as 2030-01-31T06:00Z; 30d at most.  [default: {UNTIL}]",
)
@at_desk
def command(
    *, worker: str, reason: str, deadline: str, manner: Manner, live: bool, until: str | None, desk: Desk
) -> int:
    """Give a WORKER nothing new; what runs there goes on.

    Writes `state: draining` into the file that declares it, and every other byte of it stays; with --live Git stays
    as it is, and an override begins now.
    """
    if not live:
        if until is not None:
            raise UsageMistake("--until goes with --live: what Git declares ends in Git")
        return declare_state(desk.place, worker, "draining", manner, reason=reason, deadline=deadline)
    if manner.is_given or deadline:
        raise UsageMistake("--live changes nothing in Git, so nothing of a change of Git goes with it")
    say(ordered(desk, Drain(person(), worker, reason, seconds_until("--until", until or UNTIL))).message)
    return 0
