"""`reconcile declare`: put the document that an agent printed into Git."""

import sys

import click

from reconciler.cli.options import located
from reconciler.cli.output import note
from reconciler.cli.writing import Manner, Undertaking, reasoned, write_back, writing
from reconciler.server.state.place import Place

STANDARD_INPUT = "-"


@click.command("declare")
@click.argument("document", metavar="[FILE]", default=STANDARD_INPUT)
@click.option(
    "--file", metavar="PATH", help="Where to declare a new worker, from the space's root.  [default: beside the others]"
)
@reasoned
@writing
@located
def command(*, document: str, file: str | None, reason: str, manner: Manner, place: Place) -> int:
    """Declare the worker of FILE, which `agent enrol` or `agent trust` printed; without FILE, of standard input.

    A worker that is not declared gets a file of its own. Of one that is declared the identity changes, and every other
    byte stays.
    """
    from reconciler.declare.enrolled import read_document
    from reconciler.server.forge.writeback import Declaration

    name = "standard input" if document == STANDARD_INPUT else document
    wish = Declaration(read_document(name, _content(document)), file)
    arguments = ["declare", document]
    if file is not None:
        arguments += ["--file", file]
    if reason:
        arguments += ["--reason", reason]
    subject = f"Declare {wish.address.name}"
    return write_back(place, Undertaking(wish, subject, tuple(arguments), reason), manner)


def _content(document: str) -> bytes:
    """Return what is given, and one byte more than is taken at most."""
    from reconciler.declare.enrolled import BYTES_MAX

    if document == STANDARD_INPUT:
        if sys.stdin.isatty():
            note("Paste what the agent printed, then press Ctrl-D on a line of its own.")
        return sys.stdin.buffer.read(BYTES_MAX + 1)
    with open(document, "rb") as given:
        return given.read(BYTES_MAX + 1)
