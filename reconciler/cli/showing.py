"""Which display of progress fits where the command runs."""

import os
import sys

import click

from reconciler.cli.output import wants_colour
from reconciler.cli.progress import JsonProgress, LineProgress
from reconciler.server.engine.embedded import Progress


def progress_for(*, as_json: bool, colour: str) -> Progress:
    """Return the progress that fits: records, a live display on a terminal, or plain lines."""
    if as_json:
        return JsonProgress()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from reconciler.cli.terminal import TerminalProgress

        return TerminalProgress(colour=wants_colour(colour, sys.stderr))
    return LineProgress(_to_stderr, colour=wants_colour(colour, sys.stderr), careful=sys.stderr.isatty())


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)
