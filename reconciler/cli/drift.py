"""`reconcile drift`: what differs from what was applied last, whatever was committed since."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.exit_codes import ExitCode
from reconciler.cli.options import at_desk, coloured
from reconciler.cli.output import wants_colour
from reconciler.cli.plan import show
from reconciler.server.planning.shown import Form


@click.command("drift")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@coloured
@at_desk
def command(*, form: str, color: str, desk: Desk) -> int:
    """Compare the live state with the commit that was applied last: only what was changed behind Git's back.

    Nothing is written. Exits 2 where something differs; commits that were not applied yet do not count.
    """
    found = desk.drift(Form(form))
    show(found, colour=wants_colour(color))
    return ExitCode.CHANGES if found.changed else ExitCode.FINE
