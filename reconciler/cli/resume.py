"""`reconcile resume`: commits are carried out again."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.server.orders.orders import Resume


@click.command("resume")
@at_desk
def command(*, desk: Desk) -> int:
    """End the suspension: the head of the source is judged again."""
    say(ordered(desk, Resume(person())).message)
    return 0
