"""Check processes: steps that can be told apart, scripts that exist, templates that name what there is."""

from collections.abc import Iterator

from reconciler.declare.space import Space
from reconciler.model.diagnostics import Diagnostic


def process_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every process and step template."""
    yield from ()
