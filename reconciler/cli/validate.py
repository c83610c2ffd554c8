"""`reconcile validate`: check the declarations offline."""

from pathlib import Path

import click

from reconciler.cli.options import coloured, located
from reconciler.cli.output import json_lines, json_list, wants_colour
from reconciler.declare.load import Loaded, load
from reconciler.model.diagnostics import Diagnostic, Severity
from reconciler.model.errors import UsageMistake
from reconciler.server.state.place import Place, folder_in_repository

FORMS = click.Choice(["text", "json", "github", "sarif"])


@click.command("validate")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=FORMS, default="text", help="How to print.")
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
    place: Place,
) -> int:
    """Check the declarations offline: every error at once, with its place and how to mend it.

    The whole space is checked; with PATHs only what is wrong in those files is shown and counted.
    """
    cache = place.cache if place.cache.is_dir() else None
    loaded = load(place.root, rev=rev, cache=cache)
    shown = _within(loaded, paths, place.root)
    _print(shown, loaded, form, wants_colour(color))
    errors = sum(item.severity is Severity.ERROR for item in shown)
    if form == "text":
        click.echo(_summary(loaded, errors, len(shown) - errors), err=bool(errors))
    return 1 if errors else 0


def _within(loaded: Loaded, paths: tuple[str, ...], root: Path) -> list[Diagnostic]:
    """Return what is wrong in `paths`, or everything without them; raises UsageMistake for a path outside the space."""
    if not paths:
        return list(loaded.diagnostics)
    wanted = [Path(path).resolve() for path in paths]
    for path, resolved in zip(paths, wanted, strict=True):
        if not any((root / file).is_relative_to(resolved) for file in loaded.tree.paths):
            raise UsageMistake(
                f"{path} is no file or folder of the space at {root}", "name paths inside of it, or none"
            )
    return [item for item in loaded.diagnostics if any((root / item.span.file).is_relative_to(path) for path in wanted)]


def _print(shown: list[Diagnostic], loaded: Loaded, form: str, colour: bool) -> None:
    from reconciler.declare import render

    if form == "json":
        json_list({"type": "diagnostic", **render.as_record(item)} for item in shown)
    elif form == "github":
        folder = folder_in_repository(loaded.tree.root)
        for item in shown:
            click.echo(render.as_annotation(item, folder))
    elif form == "sarif":
        from reconciler.declare.sarif import as_log

        json_lines([as_log(shown, folder_in_repository(loaded.tree.root))])
    else:
        for text in render.as_text(shown, loaded.read_source, colour=colour):
            click.echo(text)


def _summary(loaded: Loaded, errors: int, warnings: int) -> str:
    count = f"{loaded.files} file{'s' if loaded.files != 1 else ''}"
    foreign = (
        f", {loaded.foreign} foreign document{'s' if loaded.foreign != 1 else ''} skipped" if loaded.foreign else ""
    )
    if not errors and not warnings:
        return f"{count} read{foreign}; no errors."
    return f"{count} read{foreign}; {errors} error{'s' if errors != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}."
