"""`reconcile plan`: show what would change."""

from collections.abc import Iterator
from pathlib import Path

import click

from reconciler.cli.desk import Desk
from reconciler.cli.exit_codes import ExitCode, combined
from reconciler.cli.options import Selection, at_desk_of_space, coloured, selecting
from reconciler.cli.output import json_lines, note, plan_text, shown, wants_colour
from reconciler.model.errors import UsageMistake
from reconciler.server.planning.shown import Form, ShownPlan


@click.command("plan")
@click.argument("name", metavar="[PLAN]", required=False)
@click.option("--out", metavar="FILE", help="Save the plan, to be applied with `reconcile apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--snapshot", metavar="FILE", help="Plan by a snapshot of the live state, and read nothing else of it.")
@click.option("--snapshot-key", metavar="FILE", help="The public keys, one of which has to have signed it.")
@at_desk_of_space
@selecting
@coloured
def command(
    *,
    name: str | None,
    out: str | None,
    detailed_exitcode: bool,
    form: str,
    snapshot: str | None,
    snapshot_key: str | None,
    selection: Selection,
    color: str,
    desk: Desk,
) -> int:
    """Show what would change: desired against live, each change with its reason. Nothing is written.

    With --server it plans the commit that the server follows, or one that it has. PLAN is a plan that waits for a
    person: it is shown as the server has made it.
    """
    if name is not None:
        if selection.chooses or out is not None or snapshot is not None or snapshot_key is not None:
            raise UsageMistake(
                "a plan that waits is shown as it is: what chooses, --rev, --out and --snapshot belong to one that is made",
                "leave them away, or leave the name of the plan away",
            )
        return _show_waiting(name, desk.waiting_plan(name, Form(form)), selection, color, detailed=detailed_exitcode)
    if snapshot is not None:
        from reconciler.cli.by_snapshot import plan_by_snapshot

        found = plan_by_snapshot(desk.place, snapshot, snapshot_key, selection, Form(form), save=out is not None)
    elif snapshot_key is not None:
        raise UsageMistake("--snapshot-key belongs to --snapshot")
    else:
        found = desk.plan(selection, Form(form), save=out is not None)
    show(found, colour=wants_colour(color))
    if out is not None:
        Path(out).write_text(found.saved)
    if out is not None or found.refused:
        _hint(out, found, followed=snapshot is None and desk.source() is not None)
    return combined(_codes(found, detailed=detailed_exitcode))


def _show_waiting(name: str, found: ShownPlan, selection: Selection, color: str, *, detailed: bool) -> int:
    """Show a plan that waits for a person; raises UsageMistake where it is one of another space."""
    if selection.space not in {None, found.space}:
        raise UsageMistake(f'{name} is a plan of the space "{found.space}", not "{selection.space}"')
    show(found, colour=wants_colour(color))
    note(f"\nDecide with: reconcile approve {name}, or: reconcile reject {name}")
    return combined(_codes(found, detailed=detailed))


def _hint(out: str | None, found: ShownPlan, *, followed: bool) -> None:
    """Say what can be done next with a plan that was saved, or is refused."""
    if out is not None:
        following = "A server carries out commits, not files" if followed else f"Apply it with: reconcile apply {out}"
        note(f"\nSaved to {out}. {following}")
    if found.refused and followed:
        note(
            "Here a server carries out what is committed: a plan that takes too much away waits, "
            "`reconcile status` names it, and `reconcile approve` has it carried out; "
            "what is refused for another reason waits for a commit that mends it"
        )


def _codes(found: ShownPlan, *, detailed: bool) -> Iterator[ExitCode]:
    """Yield each exit code that a plan is worth."""
    if not found.complete:
        yield ExitCode.ERROR
    if found.refused:
        yield ExitCode.REFUSED
    if detailed and not found.empty:
        yield ExitCode.CHANGES


def show(found: ShownPlan, *, colour: bool) -> None:
    """Print a plan as it is shown; of its forms, text alone has colours."""
    if found.form is Form.JSON:
        json_lines(found.records)
    else:
        click.echo(plan_text(shown(found.text), colour=colour and found.form is Form.TEXT), nl=False)
