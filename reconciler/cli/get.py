"""`reconcile get`: list the live objects of a kind, or show one."""

import json

import click

from reconciler.cli.options import located
from reconciler.cli.output import json_list, table
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import LiveObject
from reconciler.plan.text import shown_revision
from reconciler.server.looking import engine_runs, looking
from reconciler.server.overview import worker_rows
from reconciler.server.place import Place
from reconciler.store import objects

SHORT = {"pool": "WorkerPool", "location": "ExecutionLocation", "policy": "MachinePolicy", "target": "DeploymentTarget"}
"""Names that people say for kinds."""


@click.command("get")
@click.argument("kind")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def command(*, kind: str, name: str | None, as_json: bool, place: Place) -> int:
    """List the live objects of KIND, or show the one called NAME.

    KIND is written as in YAML, or in lower case, or as a plural.
    """
    wanted = kind_of(kind)
    with looking(place) as readers:
        live = readers.read_now(objects.live_state)
    found = [item for address, item in live.objects.items() if address.kind == wanted and name in {None, address.name}]
    if name is not None and not found:
        names = [address.name for address in live.objects if address.kind == wanted]
        raise UsageMistake(f'there is no {wanted} "{name}"{did_you_mean(name, names)}')
    if as_json:
        json_list(map(record, found))
    elif name is not None:
        click.echo(json.dumps(record(found[0]), ensure_ascii=False, indent=1))
    elif wanted == "Worker":
        workers = worker_rows(live, engine_runs=engine_runs(place.files))
        rows = ((row.name, ",".join(row.pools), row.endpoint, row.state) for row in workers)
        table(("NAME", "POOLS", "ENDPOINT", "STATE"), rows)
    else:
        table(("NAME", "DECLARED AT", "REVISION", "GENERATION"), map(_row, found))
    return 0


def kind_of(word: str) -> str:
    """Return the kind that a person means; raises UsageMistake."""
    from reconciler.model.kinds import KINDS

    by_word = {kind.lower(): kind for kind in KINDS} | SHORT
    lower = word.lower()
    for candidate in (lower, lower.removesuffix("s"), lower.removesuffix("ies") + "y"):
        if candidate in by_word:
            return by_word[candidate]
    raise UsageMistake(f'there is no kind "{word}"{did_you_mean(word, KINDS)}')


def _row(found: LiveObject) -> tuple[str, ...]:
    return (found.address.name, str(found.position), shown_revision(found.revision), str(found.generation))


def record(found: LiveObject) -> dict[str, object]:
    """Return a live object as JSON."""
    return {
        "type": "object",
        "kind": found.address.kind,
        "metadata": json.loads(found.metadata),
        "spec": json.loads(found.spec),
        "file": found.position.file,
        "line": found.position.line,
        "revision": found.revision,
        "generation": found.generation,
        "protected": found.protected,
        "digest": found.digest,
    }
