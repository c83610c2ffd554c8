"""Load the space for a command, and show what is wrong with it."""

from collections.abc import Collection, Mapping

import click

from reconciler.cli.output import note, wants_colour
from reconciler.declare.beside import Beside
from reconciler.declare.load import Loaded, load
from reconciler.declare.source import Tree
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import Invalid, UsageMistake
from reconciler.model.spec import Address
from reconciler.server.state.place import Place

SHOWN_MAX = 200
"""Diagnostics shown before plan and apply; `validate` shows all."""

UNTRACKED_SHOWN = 5
"""Files named of those that Git does not have."""


def load_space(
    place: Place,
    *,
    rev: str | None,
    live_paths: Mapping[str, Collection[Address]],
    space: str | None = None,
    opening: Beside[Tree] | None = None,
) -> Loaded:
    """Load the space; diagnostics go to stderr. Raises Invalid where there are errors."""
    cache = place.cache if place.cache.is_dir() else None
    loaded = load(place.root, rev=rev, cache=cache, live_paths=live_paths, opening=opening)
    show(loaded, limit=SHOWN_MAX)
    if loaded.desired is None:
        count = sum(item.severity is Severity.ERROR for item in loaded.diagnostics)
        raise Invalid(
            f"{count} error{'s' if count != 1 else ''} in the declarations; nothing was changed",
            "mend them, then run the command again",
        )
    if loaded.untracked:
        names = ", ".join(loaded.untracked[:UNTRACKED_SHOWN])
        more = f" and {len(loaded.untracked) - UNTRACKED_SHOWN} more" if len(loaded.untracked) > UNTRACKED_SHOWN else ""
        note(f"This is the working tree and no commit: Git does not have {names}{more}")
    if space is not None and loaded.desired.name != space:
        raise UsageMistake(f'{place.root} declares the space "{loaded.desired.name}", not "{space}"')
    return loaded


def show(loaded: Loaded, *, limit: int) -> None:
    """Print diagnostics on stderr, at most `limit`."""
    import sys

    from reconciler.declare.render import as_text

    shown = loaded.diagnostics[:limit]
    for text in as_text(shown, loaded.read_source, colour=wants_colour("auto", sys.stderr)):
        click.echo(text, err=True)
    if len(loaded.diagnostics) > limit:
        more = len(loaded.diagnostics) - limit
        click.echo(f"… and {more} more; `reconcile validate` shows all", err=True)
