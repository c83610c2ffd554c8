"""What people decide about tasks, as commands: one function for all of them."""

import socket
from getpass import getuser

import click

from reconciler.cli.options import located
from reconciler.server.control import decide
from reconciler.server.decisions import Decision
from reconciler.server.place import Place


def decision_command(verb: str, explanation: str, following: str = "") -> click.Command:
    """Make the command that writes a decision; `following` is what a person does next."""

    @click.command(verb, help=explanation)
    @click.argument("task")
    @click.option("--notes", metavar="TEXT", default="", help="Why; recorded with the decision.")
    @located
    def command(*, task: str, notes: str, place: Place) -> int:
        actor = f"{getuser()}@{socket.gethostname()}"
        decided = decide(place, Decision(verb, task, actor, notes))
        click.echo(decided.message)
        if following and not decided.by_engine:
            click.echo(following, err=True)
        return 0

    return command
