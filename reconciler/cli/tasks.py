"""`reconcile tasks`: list tasks, the newest first."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, table
from reconciler.model.live import Task, TaskState
from reconciler.server.state.times import ago, stamp


@click.command("tasks")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most this many.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([state.value for state in TaskState]), help="Only these."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(*, limit: int, states: tuple[str, ...], as_json: bool, desk: Desk) -> int:
    """List tasks, the newest first."""
    found = desk.tasks(limit, [TaskState(state) for state in states])
    if as_json:
        json_list(map(record, found))
    else:
        table(("TASK", "DEPLOYMENT", "SLOT", "RELEASE", "STATE", "QUEUED", "REASON"), map(_row, found))
    return 0


def _row(task: Task) -> tuple[str, ...]:
    state = "adopted" if task.adopted else task.state.value
    return (
        str(task.id), task.deployment, str(task.slot), task.release, state, f"{ago(task.queued_at)} ago", task.reason,
    )  # fmt: skip


def record(task: Task) -> dict[str, object]:
    """Return a task as JSON."""
    return {
        "type": "task",
        "task": task.id,
        "deployment": task.deployment,
        "project": task.slot.project,
        "environment": task.slot.environment,
        "tenant": task.slot.tenant,
        "release": task.release,
        "state": task.state.value,
        "reason": task.reason,
        "adopted": task.adopted,
        "revision": task.revision,
        "digest": task.digest,
        "queued_at": stamp(task.queued_at),
        "started_at": stamp(task.started_at) if task.started_at else None,
        "finished_at": stamp(task.finished_at) if task.finished_at else None,
    }
