"""`reconcile get`: list the live objects of a kind, or show one."""

import json
from dataclasses import asdict

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, table
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.plan.text import shown_revision
from reconciler.server.answers.overview import ObjectRow

SHORT = {"pool": "WorkerPool", "location": "ExecutionLocation", "policy": "MachinePolicy", "target": "DeploymentTarget"}
"""Names that people say for kinds."""


@click.command("get")
@click.argument("kind")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(*, kind: str, name: str | None, as_json: bool, desk: Desk) -> int:
    """List the live objects of KIND, or show the one called NAME.

    KIND is written as in YAML, or in lower case, or as a plural.
    """
    wanted = kind_of(kind)
    rows = desk.objects(wanted)
    found = [row for row in rows if name in {None, row.name}]
    if name is not None and not found:
        raise UsageMistake(f'there is no {wanted} "{name}"{did_you_mean(name, [row.name for row in rows])}')
    if as_json:
        json_list(map(record, found))
    elif name is not None:
        click.echo(json.dumps(record(found[0]), ensure_ascii=False, indent=1))
    elif wanted == "Worker":
        listed = ((row.name, ",".join(row.pools), row.endpoint, row.state) for row in desk.workers())
        table(("NAME", "POOLS", "ENDPOINT", "STATE"), listed)
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
    raise UsageMistake(
        f'there is no kind "{word}"{did_you_mean(word, KINDS)}', f"there are: {', '.join(sorted(KINDS))}"
    )


def _row(found: ObjectRow) -> tuple[str, ...]:
    return (found.name, f"{found.file}:{found.line}", shown_revision(found.revision), str(found.generation))


def record(found: ObjectRow) -> dict[str, object]:
    """Return a live object as JSON."""
    fields = asdict(found)
    del fields["name"]  # it is in the metadata
    return {"type": "object", **fields}
