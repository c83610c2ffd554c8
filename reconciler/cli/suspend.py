"""`reconcile suspend`: no commit is carried out for a time."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.cli.until import seconds_until
from reconciler.model.errors import UsageMistake
from reconciler.server.orders.orders import Suspend


@click.command("suspend")
@click.option("--reason", metavar="TEXT", required=True, help="Why; shown wherever somebody waits.")
@click.option(
    "--until",
    metavar="TIME",
    default="4h",
    show_default=True,
    help="When it ends by itself: a span, or a time in UTC such as 2030-01-31T06:00Z.",
)
@at_desk
def command(*, reason: str, until: str, desk: Desk) -> int:
    """Let the server carry no commit out for a time; what runs goes on, and `apply` works."""
    seconds = seconds_until("--until", until)
    if seconds <= 0:
        raise UsageMistake(f"--until {until} is over already")
    say(ordered(desk, Suspend(person(), reason, seconds)).message)
    return 0
