"""`reconcile release`: free what a lost attempt holds, since its machine is gone."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.server.orders.orders import Release


@click.command("release")
@click.argument("whom", metavar="ATTEMPT|WORKER")
@click.option("--reason", metavar="TEXT", required=True, help="How it is known that nothing of it runs; recorded.")
@at_desk
def command(*, whom: str, reason: str, desk: Desk) -> int:
    """Free what a lost attempt holds alone, or all those of a worker: you know that nothing of it runs any more.

    A mutex, a machine for one script alone and the name of a worker that left Git stay held until the end of a lost
    attempt is known. If its script runs after all, it does so beside whoever gets them now.
    """
    say(ordered(desk, Release(person(), whom, reason)).message)
    return 0
