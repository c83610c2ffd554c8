"""`reconcile artifacts`: list the files that a task left, or fetch one."""

from collections.abc import Sequence
from pathlib import Path

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, note, table
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import StoredArtifact


@click.command("artifacts")
@click.argument("task")
@click.argument("name", required=False)
@click.option("--out", metavar="FILE", help="Where to write it.  [default: its name, here]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(
    *,
    task: str,
    name: str | None,
    out: str | None,
    as_json: bool,
    desk: Desk,
) -> int:
    """List the files that TASK left; with NAME, write that one to a file."""
    found = desk.artifacts(task)
    if name is not None:
        target = Path(out) if out else Path(Path(name).name)
        desk.copy_artifact(_chosen(found, name), target)
        note(f"wrote {target}")
    elif as_json:
        json_list(map(record, found))
    else:
        rows = ((item.step, item.name, str(item.size), item.digest[:12]) for item in found)
        table(("STEP", "NAME", "BYTES", "SHA-256"), rows)
    return 0


def _chosen(found: Sequence[StoredArtifact], name: str) -> StoredArtifact:
    """Return the artifact of that name, the last one where several steps or attempts left it."""
    chosen = [item for item in found if item.name == name]
    if not chosen:
        raise UsageMistake(f'the task left no "{name}"{did_you_mean(name, [item.name for item in found])}')
    return chosen[-1]


def record(item: StoredArtifact) -> dict[str, object]:
    """Return an artifact as JSON."""
    return {
        "type": "artifact", "task": item.task, "step": item.step, "name": item.name,
        "bytes": item.size, "sha256": item.digest,
    }  # fmt: skip
