"""`reconcile undrain`: give a worker work again."""

import json

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import say
from reconciler.cli.worker_states import declare_state, declared_worker
from reconciler.cli.writing import Manner, reasoned, writing
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.server.orders.orders import Undrain


@click.command("undrain")
@click.argument("worker")
@reasoned
@writing
@click.option("--live", is_flag=True, help="End the override, whatever Git declares.")
@at_desk
def command(*, worker: str, reason: str, manner: Manner, live: bool, desk: Desk) -> int:
    """Give a WORKER work again.

    Where Git declares that it drains, this writes `state: enabled` into its file, and every other byte of it stays;
    else its live override ends.
    """
    if live and (manner.is_given or reason):
        raise UsageMistake("--live changes nothing in Git, so nothing of a change of Git goes with it")
    found = None if live else declared_worker(desk.place, worker)
    state = json.loads(found.spec).get("state", "enabled") if found is not None else ""
    if state == "disabled" and found is not None and manner.is_given:
        position = f"{found.position.file}:{found.position.line}"
        raise Conflict(f"{worker} is disabled, not draining: {position} says so", f"see: reconcile enable {worker}")
    if state == "draining" or manner.is_given:
        return declare_state(desk.place, worker, "enabled", manner, verb="undrain", reason=reason)
    say(ordered(desk, Undrain(person(), worker)).message)
    return 0
