"""`reconcile enable`: declare that a worker is in use."""

import click

from reconciler.cli.options import located
from reconciler.cli.worker_states import declare_state
from reconciler.cli.writing import Manner, reasoned, writing
from reconciler.server.state.place import Place


@click.command("enable")
@click.argument("worker")
@reasoned
@writing
@located
def command(*, worker: str, reason: str, manner: Manner, place: Place) -> int:
    """Write `state: enabled` into the file that declares a WORKER; every other byte of it stays."""
    return declare_state(place, worker, "enabled", manner, reason=reason)
