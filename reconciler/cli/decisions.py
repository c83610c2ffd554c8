"""What people decide about tasks, as commands: one function for all of them."""

import socket
from getpass import getuser

import click

from reconciler.cli.options import located, place
from reconciler.server.control import decide
from reconciler.server.decisions import Decision


def decision_command(verb: str, explanation: str, following: str = "") -> click.Command:
    """Make the command that writes a decision; `following` is what a person does next."""

    @click.command(verb, help=explanation)
    @click.argument("task")
    @click.option("--notes", metavar="TEXT", default="", help="Why; recorded with the decision.")
    @located
    def command(*, task: str, notes: str, directory: str | None, data: str | None, files: str | None) -> int:
        actor = f"{getuser()}@{socket.gethostname()}"
        click.echo(decide(place(directory, data, files), Decision(verb, task, actor, notes)))
        if following:
            click.echo(following, err=True)
        return 0

    return command
