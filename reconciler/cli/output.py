"""Print: results on stdout, progress on stderr, colour where it is wanted, JSON a record a line."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import click

GUTTER_COLOURS = {"+": "green", "~": "yellow", "-": "red", "-/+": "red", ".": "cyan", "<=": "magenta"}
VERSION_RECORD: Mapping[str, object] = {"type": "version", "format_version": "1.0"}
"""Rises in its second part when fields are added, in its first when any changes its meaning."""

WORD_COLOURS = {"Error:": "red", "Warning:": "yellow", "Note:": "cyan", "Failed:": "red", "Plan:": None}


def wants_colour(choice: str, stream: TextIO | None = None) -> bool:
    """Say whether to colour: as told, else on a terminal unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    return (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def appearing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that gets its name, in place of what had it, when all of it is durable.

    A device or a pipe is written to as it is; `mode` is that of a file that is made, under the umask.
    """
    if path.exists() and not path.is_file():  # a device; and of a folder the system says that it is one
        with path.open("wb") as device:
            yield device
        return
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def shown(text: str) -> str:
    """Return lines without what commands a terminal, whoever wrote them: hidden characters are �."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    from reconciler.declare.render import printable  # few texts need it

    return "\n".join(map(printable, text.split("\n")))


def say(text: str, *, err: bool = False) -> None:
    """Print a sentence, in which callers, committers and agents may have their words, as one line."""
    click.echo(shown(text.replace("\n", " ")), err=err)


def on_terminal() -> bool:
    """Say whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def plan_text(text: str, *, colour: bool) -> str:
    """Return a plan with its gutter and its fixed words in colour."""
    if not colour:
        return text
    return "\n".join(_coloured(line) for line in text.split("\n"))


def _coloured(line: str) -> str:
    gutter = line[:5].strip()
    if line.startswith("  ") and gutter in GUTTER_COLOURS:
        return click.style(line, fg=GUTTER_COLOURS[gutter])
    if line.startswith("  #"):
        return click.style(line, bold=line.startswith("  # "))
    word = line.split(" ", 1)[0]
    return click.style(line, fg=WORD_COLOURS[word], bold=True) if word in WORD_COLOURS else line


def json_list(records: Iterable[Mapping[str, object]]) -> None:
    """Print records after the one that says the version of their form, one a line."""
    json_lines([VERSION_RECORD, *records])


def json_lines(records: Iterable[Mapping[str, object]]) -> None:
    """Print records, one a line."""
    for record in records:
        click.echo(json.dumps(record, ensure_ascii=False, separators=(",", ":")))


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows under their headings, columns aligned by two spaces."""
    lines = [tuple(headings), *(tuple(shown(cell.replace("\n", " ")) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """Print a line of progress on stderr."""
    click.echo(shown(text), err=True)


def discard(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter does not complain about it at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
