"""`reconcile undrain`: give a worker work again."""

import click

from reconciler.cli.options import located
from reconciler.cli.ordering import ordered, person
from reconciler.server.orders import Undrain
from reconciler.server.place import Place


@click.command("undrain")
@click.argument("worker")
@located
def command(*, worker: str, place: Place) -> int:
    """End the live override of a WORKER: it takes work again, unless Git says that it is draining."""
    click.echo(ordered(place, Undrain(person(), worker)).message)
    return 0
