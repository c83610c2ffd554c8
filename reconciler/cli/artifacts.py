"""`reconcile artifacts`: list the files that a task left, or fetch one."""

import shutil
from pathlib import Path

import click

from reconciler.cli.options import located
from reconciler.cli.output import json_list, note, table
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import StoredArtifact
from reconciler.server.orders.decisions import find_task
from reconciler.server.state.looking import looking
from reconciler.server.state.place import Place
from reconciler.store import results
from reconciler.store.blobs import blob_path


@click.command("artifacts")
@click.argument("task")
@click.argument("name", required=False)
@click.option("--out", metavar="FILE", help="Where to write it.  [default: its name, here]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def command(
    *,
    task: str,
    name: str | None,
    out: str | None,
    as_json: bool,
    place: Place,
) -> int:
    """List the files that TASK left; with NAME, write that one to a file."""
    with looking(place) as readers:
        found = readers.read_now(lambda tx: results.artifacts(tx, find_task(tx, task).id))
    if name is not None:
        target = Path(out) if out else Path(Path(name).name)
        shutil.copyfile(blob_path(place.files.blobs, _chosen(found, name).digest), target)
        note(f"wrote {target}")
    elif as_json:
        json_list(map(record, found))
    else:
        rows = ((item.step, item.name, str(item.size), item.digest[:12]) for item in found)
        table(("STEP", "NAME", "BYTES", "SHA-256"), rows)
    return 0


def _chosen(found: list[StoredArtifact], name: str) -> StoredArtifact:
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
