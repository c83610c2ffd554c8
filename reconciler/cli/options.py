"""Options that commands share, and what they come to: a place, a selection."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.model.errors import UsageMistake
from reconciler.server.state.place import Place, place_of

if TYPE_CHECKING:  # commands that plan nothing start without the planner
    from reconciler.cli.desk import Desk
    from reconciler.cli.remote_desk import RemoteDesk
    from reconciler.plan.planner import Options

Command = Callable[..., int]


def located(function: Command) -> Command:
    """Add -C, --data and --files; the function gets them as `place`."""

    @wraps(function)
    def wrapper(*, directory: str | None, data: str | None, files: str | None, **others: Any) -> int:
        return function(place=place_of(directory, data, files), **others)

    return _with(
        wrapper,
        click.option("-C", "directory", metavar="DIR", help="The repository, or the folder of it that is the space."),
        click.option("--data", metavar="DIR|URL", help="The state.  [default: .reconcile at the space's root]"),
        click.option("--files", metavar="DIR", help="Files of a state on PostgreSQL: key, logs, tickets, socket."),
    )


SERVER, TOKEN = "RECONCILE_SERVER", "RECONCILE_TOKEN"
"""Variables that stand for --server and for what --token-file holds."""


def beside_state(function: Command) -> Command:
    """Do as `located` does, for what no server does from afar: where one is named, the command says so."""
    placed = located(function)

    @wraps(placed)
    def wrapper(*, server: str | None, token_file: str | None, ca_file: str | None, **others: Any) -> int:
        at_hand = others["directory"] or others["data"] or others["files"]
        named = "--server" if server or token_file or ca_file else SERVER
        if named != SERVER or (not at_hand and os.environ.get(SERVER)):
            raise UsageMistake(
                f"{click.get_current_context().command_path} works beside the server, on its state, and not by {named}",
                "run it on the server's machine with --data: what `serve --data` names; where the configuration has "
                "[[source]], the space's folder in that, or postgresql://…/SPACE with the --files of `serve`",
            )
        return placed(**others)

    hidden = "Belongs to commands that ask a server."
    return _with(
        wrapper,
        click.option("--server", hidden=True, help=hidden),
        click.option("--token-file", hidden=True, help=hidden),
        click.option("--ca-file", hidden=True, help=hidden),
    )


SPACE_HELP = "With --server: which of its spaces."


def at_desk(function: Command, *, but_with: str = "") -> Command:
    """Add -C, --data and --files, or else what a server is reached by; the function gets a desk as `desk`.

    With the argument `but_with` the command asks nobody, so that no server that the environment names matters.
    """

    @wraps(function)
    def without(*, space: str | None, **others: Any) -> int:
        del space  # the desk has it
        return function(**others)

    option = click.option("--space", metavar="NAME", help=SPACE_HELP)
    return _seated(_with(without, option), but_with)


def at_desk_of_space(function: Command) -> Command:
    """Do as `at_desk` does, for a command that has --space itself."""
    return _seated(function)


def _seated(function: Command, but_with: str = "") -> Command:
    @wraps(function)
    def wrapper(
        *,
        directory: str | None,
        data: str | None,
        files: str | None,
        server: str | None,
        token_file: str | None,
        ca_file: str | None,
        **others: Any,
    ) -> int:
        here = directory or data or files
        if others.get(but_with) and (server or token_file or ca_file):
            raise UsageMistake(f"{but_with.upper()} is looked at here, and no server is asked", "leave --server away")
        if server is not None and here:
            raise UsageMistake(
                "--server does not go with -C, --data and --files", "a server has a repository and a state of its own"
            )
        url = server or (os.environ.get(SERVER) if not (here or others.get(but_with)) else None)
        if url:
            desk = _remote(url, token_file, ca_file, others.get("space"))
            desk.lasting = server is None
            return function(desk=desk, **others)
        if token_file is not None or ca_file is not None:
            raise UsageMistake("--token-file and --ca-file go with --server", f"name the server, or set {SERVER}")
        from reconciler.cli.local_desk import LocalDesk  # commands at no desk start without it

        return function(desk=LocalDesk(place_of(directory, data, files)), **others)

    return _with(
        wrapper,
        click.option("-C", "directory", metavar="DIR", help="The repository, or the folder of it that is the space."),
        click.option("--data", metavar="DIR|URL", help="The state.  [default: .reconcile at the space's root]"),
        click.option("--files", metavar="DIR", help="Files of a state on PostgreSQL: key, logs, tickets, socket."),
        click.option("--server", metavar="URL", help="Ask a server instead."),
        click.option("--token-file", metavar="FILE", help="The token for it, on the first line; - is standard input."),
        click.option("--ca-file", metavar="FILE", help="Certificates that sign the server's, in PEM."),
    )


def _remote(url: str, token_file: str | None, ca_file: str | None, space: str | None) -> "RemoteDesk":
    from reconciler.cli.calling import Caller  # commands beside the state start without it
    from reconciler.cli.remote_desk import RemoteDesk

    return RemoteDesk(Caller(url, _token(token_file), Path(ca_file) if ca_file is not None else None), space)


def standing_desk(place: Place) -> "Desk":
    """Return the desk of who works in a repository: the server's that the environment names, else that of its state."""
    from reconciler.cli.local_desk import LocalDesk

    if url := os.environ.get(SERVER):
        return _remote(url, None, None, None)
    return LocalDesk(place)


def _token(file: str | None) -> str:
    """Return the token that is shown to a server; never an argument, which everyone on the machine could read."""
    if file is None:
        text = os.environ.get(TOKEN, "")
    elif file == "-":
        text = sys.stdin.readline()
    else:
        try:
            text = Path(file).read_text(errors="replace").partition("\n")[0]
        except OSError as error:
            raise UsageMistake(f"--token-file {file}: {error.strerror}") from None
    if not text.strip():
        raise UsageMistake("there is no token for the server", f"name its file with --token-file, or set {TOKEN}")
    if not text.strip().isascii() or not text.strip().isprintable():
        raise UsageMistake("what is given as the token is none", "a token is one line of letters, digits and signs")
    return text.strip()


@dataclass(frozen=True, slots=True)
class Selection:
    """What plan and apply work on: which revision, which objects of it, and the name that the space must have."""

    rev: str | None
    space: str | None
    options: "Options"

    @property
    def chooses(self) -> bool:
        """Does it say which commit, which objects or which bounds?"""
        chosen = self.options
        return bool(
            self.rev is not None or chosen.targets or chosen.excludes or chosen.removals_max or chosen.retry_failed
        )


def selecting(function: Command) -> Command:
    """Add what plan and apply choose by; the function gets it as `selection`."""

    @wraps(function)
    def wrapper(
        *,
        rev: str | None,
        targets: tuple[str, ...],
        excludes: tuple[str, ...],
        max_removals: str | None,
        retry_failed: bool,
        space: str | None,
        **others: Any,
    ) -> int:
        from reconciler.server.planning.choosing import options_of

        options = options_of(targets, excludes, max_removals, retry_failed=retry_failed)
        return function(selection=Selection(rev, space, options), **others)

    return _with(
        wrapper,
        click.option("--rev", metavar="COMMIT", help="Read this commit instead of the working tree."),
        click.option("--target", "targets", metavar="ADDRESS", multiple=True, help="Only this, and what it needs."),
        click.option(
            "--exclude", "excludes", metavar="ADDRESS", multiple=True, help="Leave this out, and what needs it."
        ),
        click.option("--max-removals", metavar="N", help="Allow this many removals per kind, this once."),
        click.option("--retry-failed", is_flag=True, help="Run again what failed at its present digest."),
        click.option("--space", metavar="NAME", help="Refuse to work on a space of another name."),
    )


def coloured(function: Command) -> Command:
    """Add --color."""
    choice = click.Choice(["auto", "always", "never"])
    return _with(function, click.option("--color", type=choice, default="auto", help="Colour the output."))


def _with(function: Command, *options: Callable[[Command], Command]) -> Command:
    """Add options so that help shows them in the order in which they are written."""
    for option in reversed(options):
        function = option(function)
    return function
