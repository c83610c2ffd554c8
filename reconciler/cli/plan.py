"""`reconcile plan`: show what would change."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from pydantic import JsonValue

from reconciler.cli.exit_codes import ExitCode, combined
from reconciler.cli.loading import load_space
from reconciler.cli.options import Selection, coloured, located, selecting
from reconciler.cli.output import json_lines, note, plan_text, wants_colour
from reconciler.declare.beside import Beside
from reconciler.declare.source import open_tree
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options
from reconciler.server.place import Place
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
    selection: Selection,
    color: str,
    place: Place,
) -> int:
    """Show what would change: desired against live, each change with its reason. Nothing is written."""
    opening = Beside(lambda: open_tree(place.root, selection.rev).with_first_commit())  # Git works while we read
    live = read_live(place.data)
    loaded = load_space(place, rev=selection.rev, live_paths=files_of(live), space=selection.space, opening=opening)
    planned = plan_space(loaded, live, selection.options)
    show_plan(planned.plan, form, colour=wants_colour(color))
    if out is not None:
        _save(planned.plan, selection.options, scripts_of(planned, loaded.tree.read), Path(out))
    return combined(_codes(planned.plan, detailed=detailed_exitcode))


def _codes(planned: Plan, *, detailed: bool) -> Iterator[ExitCode]:
    """Yield each exit code that a plan is worth."""
    if not planned.complete:
        yield ExitCode.ERROR
    if planned.refused:
        yield ExitCode.REFUSED
    if detailed and not planned.empty:
        yield ExitCode.CHANGES


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
