"""`reconcile plan`: show what would change."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from pydantic import JsonValue

from reconciler.cli.exit_codes import ExitCode, combined
from reconciler.cli.loading import load_space
from reconciler.cli.options import coloured, located, place, selecting
from reconciler.cli.output import json_lines, note, plan_text, wants_colour
from reconciler.model.errors import UsageMistake
from reconciler.model.spec import Address
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options
from reconciler.server.planning import files_of, plan_space, read_live, scripts_of


@click.command("plan")
@click.option("--out", metavar="FILE", help="Save the plan, to be applied with `reconcile apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@selecting
@coloured
@located
def command(
    *,
    out: str | None,
    detailed_exitcode: bool,
    form: str,
    rev: str | None,
    targets: tuple[str, ...],
    excludes: tuple[str, ...],
    max_removals: str | None,
    retry_failed: bool,
    space: str | None,
    color: str,
    directory: str | None,
    data: str | None,
    files: str | None,
) -> int:
    """Show what would change: desired against live, each change with its reason. Nothing is written."""
    where = place(directory, data, files)
    live = read_live(where.data)
    options = options_of(targets, excludes, max_removals, retry_failed=retry_failed)
    loaded = load_space(where, rev=rev, live_paths=files_of(live), space=space)
    planned = plan_space(loaded, live, options)
    show_plan(planned.plan, form, colour=wants_colour(color))
    if out is not None:
        _save(planned.plan, options, scripts_of(planned, loaded.tree.read), Path(out))
    return combined(_codes(planned.plan, detailed=detailed_exitcode))


def _codes(planned: Plan, *, detailed: bool) -> Iterator[ExitCode]:
    """Yield each exit code that a plan is worth."""
    if not planned.complete:
        yield ExitCode.ERROR
    if planned.refused:
        yield ExitCode.REFUSED
    if detailed and not planned.empty:
        yield ExitCode.CHANGES


def options_of(
    targets: tuple[str, ...], excludes: tuple[str, ...], max_removals: str | None, *, retry_failed: bool
) -> Options:
    """Read the options that choose what is planned; raises UsageMistake."""
    from pydantic_core import PydanticCustomError

    from reconciler.model.text import Removals

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


def show_plan(planned: Plan, form: str, *, colour: bool) -> None:
    """Print a plan."""
    if form == "json":
        from reconciler.plan.records import records

        json_lines(records(planned))
    elif form == "markdown":
        from reconciler.plan.markdown import render as render_markdown

        click.echo(render_markdown(planned), nl=False)
    else:
        from reconciler.plan.text import render as render_text

        click.echo(plan_text(render_text(planned), colour=colour), nl=False)


def _save(planned: Plan, options: Options, scripts: Mapping[str, str], out: Path) -> None:
    from reconciler.plan.saved import write
    from reconciler.plan.text import render

    chosen: dict[str, JsonValue] = {
        "targets": [str(address) for address in options.targets],
        "excludes": [str(address) for address in options.excludes],
        "maxRemovals": options.removals_max,
        "retryFailed": options.retry_failed,
        "scripts": dict(scripts),
    }
    out.write_text(write(planned, chosen, render(planned)))
    note(f"\nSaved to {out}. Apply it with: reconcile apply {out}")
