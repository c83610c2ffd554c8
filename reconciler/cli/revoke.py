"""`reconcile revoke`: trust an identity no longer, or again."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.model.errors import UsageMistake
from reconciler.server.orders.orders import Lift, Order, Revoke


@click.command("revoke")
@click.argument("whom", metavar="WORKER|THUMBPRINT")
@click.option("--reason", metavar="TEXT", help="Why; recorded with the revocation.")
@click.option("--lift", is_flag=True, help="Take the revocation back.")
@at_desk
def command(*, whom: str, reason: str | None, lift: bool, desk: Desk) -> int:
    """Trust a thumbprint, or all those of a worker, no longer, whatever Git declares; its session ends at once."""
    if lift and reason is not None:
        raise UsageMistake("--lift and --reason exclude each other")
    order: Order = Lift(person(), whom) if lift else Revoke(person(), whom, reason or "")
    say(ordered(desk, order).message)
    return 0
