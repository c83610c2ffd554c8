"""`reconcile agent`: this machine as a worker; the same commands that the one-file agent has."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
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


def _writing(function: Command) -> Command:
    """Add --write and --commit: the Worker document also goes into a file of a checkout."""

    @wraps(function)
    def wrapper(*, state: str, file: str | None, commit: bool, **others: Any) -> int:
        if commit and file is None:
            raise UsageMistake("--commit goes with --write FILE")
        code = function(state=state, **others)
        if code == 0 and file is not None:
            from reconciler.agent import enrolment

            _put(Path(file), enrolment.document(state), commit=commit)
        return code

    where = click.option("--write", "file", metavar="FILE", help="Put the Worker document into this file, too.")
    return where(click.option("--commit", is_flag=True, help="With --write: commit the file.")(wrapper))


def _put(path: Path, document: str, *, commit: bool) -> None:
    from reconciler.declare.rewriting import name_in, with_worker

    path.parent.mkdir(parents=True, exist_ok=True)
    prepared = path.with_name(f".{path.name}.new")
    prepared.write_text(with_worker(path.read_text() if path.exists() else "", document))
    prepared.replace(path)  # whole or as it was
    click.echo(f"{path} declares this worker.", err=True)
    if commit:
        _commit(path, name_in(document))


def _commit(path: Path, worker: str) -> None:
    """Commit one file with the person's own settings and hooks; raises UsageMistake where git does not want to."""
    from git import GitCommandError, InvalidGitRepositoryError, Repo

    try:
        repository = Repo(path.parent, search_parent_directories=True)
        repository.git.add("--", str(path.resolve()))
        repository.git.commit("-q", "-m", f"Declare {worker} in {path.name}", "--", str(path.resolve()))
    except InvalidGitRepositoryError:
        raise UsageMistake(f"{path} is in no repository", "commit it where it belongs") from None
    except GitCommandError as error:
        said = str(error.stderr or error.stdout).strip().removeprefix("stderr: ").strip("' \n")
        raise UsageMistake(f"git does not commit {path}: {said}", "the file is written; commit it by hand") from None
    click.echo("It is committed.", err=True)


_ACCOUNTS = click.option(
    "--account", "accounts", metavar="NAME", multiple=True, help="Steps may run under it; may be repeated."
)


@command.command("enrol")
@_of_agent
@_writing
@click.option(
    "--server", "servers", metavar="HOST:PORT", multiple=True, required=True, help="Where agents call; may be repeated."
)
@click.option("--token-file", metavar="FILE|-", required=True, help="Holds the one-use token; - is standard input.")
@click.option("--listen", metavar="HOST:PORT", help="The server calls this agent there.  [default: the agent calls]")
@click.option("--proxy", metavar="URL", help="http://HOST:PORT to call through; credentials are never given here.")
@_ACCOUNTS
def enrol(
    *,
    state: str,
    servers: tuple[str, ...],
    token_file: str,
    listen: str | None,
    proxy: str | None,
    accounts: tuple[str, ...],
) -> int:
    """Become a worker with a one-use token, and print the Worker document to commit."""
    from reconciler.agent import commands

    return commands.enrol(state, servers, token_file, listen=listen, proxy=proxy, accounts=accounts)


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
@_writing
def rotate(*, state: str) -> int:
    """Make the agent's next key, and say what to change in Git."""
    from reconciler.agent import commands

    return commands.rotate(state)


@command.command("trust")
@_of_agent
@_writing
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
@_ACCOUNTS
def trust(
    *,
    state: str,
    authority_file: str,
    pin: str,
    listen: str,
    name: str | None,
    pools: tuple[str, ...],
    accounts: tuple[str, ...],
) -> int:
    """Trust a server by hand, where a listening agent cannot call it, and print the Worker document to commit."""
    from reconciler.agent import commands

    return commands.trust(state, authority_file, pin, listen=listen, name=name, pools=pools, accounts=accounts)
