"""Load the space for a command, and show what is wrong with it."""

from collections.abc import Collection

import click

from reconciler.cli.output import wants_colour
from reconciler.declare.load import Loaded, load
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import Invalid, UsageMistake
from reconciler.server.place import Place

SHOWN_MAX = 200
"""Diagnostics shown before plan and apply; `validate` shows all."""


def load_space(place: Place, *, rev: str | None, live_paths: Collection[str], space: str | None = None) -> Loaded:
    """Load the space; diagnostics go to stderr. Raises Invalid where there are errors."""
    cache = place.cache if place.cache.is_dir() else None
    loaded = load(place.root, rev=rev, cache=cache, live_paths=live_paths)
    show(loaded, limit=SHOWN_MAX)
    if loaded.desired is None:
        count = sum(item.severity is Severity.ERROR for item in loaded.diagnostics)
        raise Invalid(
            f"{count} error{'s' if count != 1 else ''} in the declarations; nothing was changed",
            "mend them, then run the command again",
        )
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
