"""`reconcile snapshot`: the live state, redacted and signed, for plans where neither state nor secrets are at hand."""

from pathlib import Path

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import note


@click.command("snapshot")
@click.option("--out", metavar="FILE", help="Write it to this file instead of printing it.")
@click.option("--key", "only_key", is_flag=True, help="Print the public keys that it is signed with instead (PEM).")
@at_desk
def command(*, out: str | None, only_key: bool, desk: Desk) -> int:
    """Write the live state as a signed document without hosts, values of variables and secrets.

    `reconcile plan --snapshot FILE` plans by it and needs nothing else.
    """
    text = desk.snapshot_keys() if only_key else desk.snapshot()
    if out is None:
        click.echo(text, nl=False)
        return 0
    Path(out).write_text(text)
    if not only_key:
        note(f"Saved to {out}. Plan by it with: reconcile plan --snapshot {out}")
    return 0
