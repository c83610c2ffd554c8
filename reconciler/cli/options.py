"""Options that commands share, and what they come to: a place, a selection."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import Address
from reconciler.server.place import place_of

if TYPE_CHECKING:  # commands that plan nothing start without the planner
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


@dataclass(frozen=True, slots=True)
class Selection:
    """What plan and apply work on: which revision, which objects of it, and the name that the space must have."""

    rev: str | None
    space: str | None
    options: "Options"


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


def options_of(
    targets: tuple[str, ...], excludes: tuple[str, ...], max_removals: str | None, *, retry_failed: bool
) -> "Options":
    """Read the options that choose what is planned; raises UsageMistake."""
    from pydantic_core import PydanticCustomError

    from reconciler.model.text import Removals
    from reconciler.plan.planner import Options

    try:
        allowed = Removals.check(max_removals) if max_removals is not None else None
    except PydanticCustomError as error:
        raise UsageMistake(f"--max-removals {max_removals}: {error.message()}") from error
    return Options(_addresses(targets), _addresses(excludes), allowed, retry_failed)


def _addresses(texts: tuple[str, ...]) -> tuple[Address, ...]:
    try:
        return tuple(Address.parse(text) for text in texts)
    except ValueError as error:
        raise UsageMistake(str(error)) from error


def _with(function: Command, *options: Callable[[Command], Command]) -> Command:
    """Add options so that help shows them in the order in which they are written."""
    for option in reversed(options):
        function = option(function)
    return function
