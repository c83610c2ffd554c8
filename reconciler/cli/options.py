"""Options that commands share, and what they come to."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from reconciler.server.place import Place, place_of

Function = TypeVar("Function", bound=Callable[..., Any])


def located(function: Function) -> Function:
    """Add -C, --data and --files; the function gets `directory`, `data` and `files`."""
    for option in (
        click.option("--files", metavar="DIR", help="Files of a state on PostgreSQL: key, logs, tickets, socket."),
        click.option("--data", metavar="DIR|URL", help="The state.  [default: .reconcile at the space's root]"),
        click.option("-C", "directory", metavar="DIR", help="The repository, or the folder of it that is the space."),
    ):
        function = option(function)
    return function


def selecting(function: Function) -> Function:
    """Add what plan and apply choose by: --rev, --target, --exclude, --max-removals, --retry-failed, --space."""
    for option in (
        click.option("--space", metavar="NAME", help="Refuse to work on a space of another name."),
        click.option("--retry-failed", is_flag=True, help="Run again what failed at its present digest."),
        click.option("--max-removals", metavar="N", help="Allow this many removals per kind, this once."),
        click.option(
            "--exclude", "excludes", metavar="ADDRESS", multiple=True, help="Leave this out, and what needs it."
        ),
        click.option("--target", "targets", metavar="ADDRESS", multiple=True, help="Only this, and what it needs."),
        click.option("--rev", metavar="COMMIT", help="Read this commit instead of the working tree."),
    ):
        function = option(function)
    return function


def coloured(function: Function) -> Function:
    """Add --color."""
    return click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the output."
    )(function)


def place(directory: str | None, data: str | None, files: str | None) -> Place:
    """Return where a command works."""
    return place_of(directory, data, files)
