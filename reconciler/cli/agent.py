"""`reconcile agent`: this machine as a worker; the same commands that the one-file agent has."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from reconciler.cli.verbs import Verbs
from reconciler.model.errors import ReconcilerError, UsageMistake

Command = Callable[..., int]


@click.group("agent", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Make this machine a worker: enrol it, run its agent, look at it, change its key."""


def _of_agent(function: Command) -> Command:
    """Add --state; the function gets its absolute path, and the agent's errors become ours."""

    @wraps(function)
    def wrapper(*, state: str, **others: Any) -> int:
        from reconciler.agent.faults import AgentError

        try:
            return function(state=os.path.abspath(state), **others)
        except AgentError as error:
            message, _, hint = str(error).partition("; ")
            raise UsageMistake(message, hint) from error
        except OSError as error:
            raise ReconcilerError(
                f"{state}: {error.strerror or error}", "give the agent a directory of its own"
            ) from error

    option = click.option("--state", metavar="DIR", required=True, help="The agent's state directory.")
    return option(wrapper)


@command.command("enrol")
@_of_agent
@click.option(
    "--server", "servers", metavar="HOST:PORT", multiple=True, required=True, help="Where agents call; may be repeated."
)
@click.option("--token-file", metavar="FILE|-", required=True, help="Holds the one-use token; - is standard input.")
@click.option("--listen", metavar="HOST:PORT", help="The server calls this agent there.  [default: the agent calls]")
@click.option("--proxy", metavar="URL", help="http://HOST:PORT to call through; credentials are never given here.")
def enrol(*, state: str, servers: tuple[str, ...], token_file: str, listen: str | None, proxy: str | None) -> int:
    """Become a worker with a one-use token, and print the Worker document to commit."""
    from reconciler.agent import commands

    return commands.enrol(state, servers, token_file, listen=listen, proxy=proxy)


@command.command("run")
@_of_agent
def run(*, state: str) -> int:
    """Run the agent until it is told to stop; running scripts outlive it."""
    from reconciler.agent import household

    household.run(state)
    return 0


@command.command("show")
@_of_agent
def show(*, state: str) -> int:
    """Show who the agent is, whom it trusts and how its machine is; exit 1 if something there would hurt scripts."""
    from reconciler.agent import commands

    return commands.show(state)


@command.command("rotate")
@_of_agent
def rotate(*, state: str) -> int:
    """Make the agent's next key, and say what to change in Git."""
    from reconciler.agent import commands

    return commands.rotate(state)


@command.command("trust")
@_of_agent
@click.option(
    "--ca", "authority_file", metavar="FILE", required=True, help="The certificate of the server's authority."
)
@click.option("--pin", metavar="THUMBPRINT", required=True, help="The thumbprint of the server's key.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="0.0.0.0:10933",
    show_default=True,
    help="The server calls this agent there.",
)
@click.option("--name", metavar="NAME", help="The worker's name.  [default: the machine's]")
@click.option(
    "--pool", "pools", metavar="POOL", multiple=True, default=("default",), help="A pool it is to be a member of."
)
def trust(*, state: str, authority_file: str, pin: str, listen: str, name: str | None, pools: tuple[str, ...]) -> int:
    """Trust a server by hand, where a listening agent cannot call it, and print the Worker document to commit."""
    from reconciler.agent import commands

    return commands.trust(state, authority_file, pin, listen=listen, name=name, pools=pools)
