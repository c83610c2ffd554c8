"""`reconcile status`: what is, and what waits for whom."""

import json
from functools import partial

import click

from reconciler.cli.options import located
from reconciler.cli.output import table
from reconciler.model.live import StepState
from reconciler.plan.text import shown_revision
from reconciler.server.looking import engine_runs, looking
from reconciler.server.overview import Overview, SlotRow, overview
from reconciler.server.place import Place
from reconciler.server.times import ago, stamp


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@located
def command(*, as_json: bool, place: Place) -> int:
    """Show what is: the space, its workers, its deployments and what waits for whom."""
    with looking(place) as readers:
        seen = readers.read_now(partial(overview, engine_runs=engine_runs(place.files)))
    if as_json:
        click.echo(json.dumps(record(seen), ensure_ascii=False, indent=1))
    else:
        _print(seen)
    return 0


def _print(seen: Overview) -> None:
    space = seen.binding.space if seen.binding else "unbound"
    click.echo(f"Space {space} at {shown_revision(seen.revision)}, state {seen.serial}")
    click.echo(", ".join(f"{count} {kind}" for kind, count in seen.counts.items()) or "nothing is applied")
    click.echo()
    table(
        ("WORKER", "POOLS", "ENDPOINT", "STATE"),
        ((w.name, ",".join(w.pools), w.endpoint, w.state) for w in seen.workers),
    )
    if seen.slots:
        click.echo()
        table(("DEPLOYMENT", "SLOT", "RELEASE", "TASK", "STATE", "SINCE", "REASON"), map(_slot, seen.slots))
    for row in seen.slots:
        for step in row.steps:
            if step.state in {StepState.RUNNING, StepState.WAITING}:
                click.echo(f'  {row.deployment}: "{step.name}" {step.state} for {ago(step.since)}: {step.reason}')
    for question in seen.questions:
        click.echo()
        click.echo(f"Task {question.task} asks: {question.instructions.strip()}")
        click.echo(f"  answer with: reconcile approve {question.task}, or: reconcile reject {question.task}")


def _slot(row: SlotRow) -> tuple[str, ...]:
    task = row.task
    release = row.wish.spec.release if row.wish else task.release if task else ""
    since = ago((task.finished_at or task.started_at or task.queued_at) if task else None)
    number = str(task.id) if task else ""
    return (row.deployment, str(row.slot), release, number, row.condition, since, task.reason if task else "")


def record(seen: Overview) -> dict[str, object]:
    """Return the overview as JSON."""
    return {
        "format_version": "1.0",
        "space": seen.binding.space if seen.binding else None,
        "revision": seen.revision,
        "serial": seen.serial,
        "objects": seen.counts,
        "workers": [
            {"name": w.name, "pools": list(w.pools), "endpoint": w.endpoint, "state": w.state} for w in seen.workers
        ],
        "deployments": [_slot_record(row) for row in seen.slots],
        "questions": [
            {
                "task": q.task,
                "step": q.step + 1,
                "instructions": q.instructions,
                "teams": list(q.teams),
                "since": stamp(q.asked_at),
            }
            for q in seen.questions
        ],
    }


def _slot_record(row: SlotRow) -> dict[str, object]:
    task = row.task
    return {
        "deployment": row.deployment,
        "project": row.slot.project,
        "environment": row.slot.environment,
        "tenant": row.slot.tenant,
        "declared_release": row.wish.spec.release if row.wish else None,
        "release": task.release if task else None,
        "task": task.id if task else None,
        "state": task.state.value if task else None,
        "reason": task.reason if task else "",
        "current": bool(task and row.wish and task.digest == row.wish.digest),
        "adopted": bool(task and task.adopted),
        "process_changed": row.process_moved,
        "steps": [
            {"step": step.index + 1, "name": step.name, "state": step.state.value, "reason": step.reason}
            for step in row.steps
        ],
    }
