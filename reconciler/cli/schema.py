"""`reconcile schema`: JSON Schemas for editors and other tools."""

from pathlib import Path

import click

from reconciler.cli.get import kind_of
from reconciler.declare import schema


@click.command("schema")
@click.argument("kind", required=False)
@click.option("--write", "folder", metavar="DIR", help="Write every schema into a folder instead.")
def command(*, kind: str | None, folder: str | None) -> int:
    """Print the JSON Schema of KIND, or one for all kinds, which tells them apart by `kind`."""
    if folder is not None:
        schema.write(Path(folder))
        return 0
    found = schema.schemas()[kind_of(kind) if kind else "all"]
    click.echo(schema.as_text(found), nl=False)
    return 0
