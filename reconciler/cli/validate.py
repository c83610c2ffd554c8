"""`reconcile validate`: check the declarations offline."""

import sys

import click

from reconciler.cli.options import coloured, located, place
from reconciler.cli.output import wants_colour
from reconciler.declare.load import Loaded, load
from reconciler.model.diagnostics import Diagnostic, Severity


@click.command("validate")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--rev", metavar="COMMIT", help="Read this commit instead of the working tree.")
@coloured
@located
def command(
    *,
    paths: tuple[str, ...],
    form: str,
    rev: str | None,
    color: str,
    directory: str | None,
    data: str | None,
    files: str | None,
) -> int:
    """Check the declarations offline: every error at once, with its place and how to mend it.

    The whole space is checked; with PATHs only what is wrong in those files is shown and counted.
    """
    where = place(directory, data, files)
    cache = where.cache if where.cache.is_dir() else None
    loaded = load(where.root, rev=rev, cache=cache)
    shown = _within(loaded, paths, where.root)
    _print(shown, loaded, form, wants_colour(color))
    errors = sum(item.severity is Severity.ERROR for item in shown)
    if form == "text":
        click.echo(_summary(loaded, errors, len(shown) - errors), err=bool(errors))
    return 1 if errors else 0


def _within(loaded: Loaded, paths: tuple[str, ...], root: object) -> list[Diagnostic]:
    if not paths:
        return list(loaded.diagnostics)
    from pathlib import Path

    wanted = [Path(path).resolve() for path in paths]
    return [
        item
        for item in loaded.diagnostics
        if any((Path(str(root)) / item.span.file).is_relative_to(path) for path in wanted)
    ]


def _print(shown: list[Diagnostic], loaded: Loaded, form: str, colour: bool) -> None:
    from reconciler.declare import render

    if form == "json":
        import json

        for item in shown:
            click.echo(json.dumps(render.as_record(item), ensure_ascii=False))
    elif form == "github":
        for item in shown:
            click.echo(render.as_annotation(item))
    else:
        for text in render.as_text(shown, loaded.read_source, colour=colour):
            sys.stdout.write(text + "\n")


def _summary(loaded: Loaded, errors: int, warnings: int) -> str:
    count = f"{loaded.files} file{'s' if loaded.files != 1 else ''}"
    foreign = (
        f", {loaded.foreign} foreign document{'s' if loaded.foreign != 1 else ''} skipped" if loaded.foreign else ""
    )
    if not errors and not warnings:
        return f"{count} read{foreign}; no errors."
    return f"{count} read{foreign}; {errors} error{'s' if errors != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}."
