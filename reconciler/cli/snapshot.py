"""`reconcile snapshot`: the live state, redacted and signed, for plans where neither state nor secrets are at hand."""

from pathlib import Path

import click

from reconciler.cli.options import beside_state
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import note
from reconciler.server.orders.orders import MakeSnapshotKey
from reconciler.server.planning.snapshots import public_keys, written
from reconciler.server.state.looking import looking
from reconciler.server.state.place import Place
from reconciler.server.state.sealing import sealer_of


@click.command("snapshot")
@click.option("--out", metavar="FILE", help="Write it to this file instead of printing it.")
@click.option("--key", "only_key", is_flag=True, help="Print the public keys that it is signed with instead (PEM).")
@beside_state
def command(*, out: str | None, only_key: bool, place: Place) -> int:
    """Write the live state as a signed document without hosts, values of variables and secrets.

    `reconcile plan --snapshot FILE` plans by it and needs nothing else.
    """
    text = _keys(place) if only_key else _snapshot(place)
    if out is None:
        click.echo(text, nl=False)
        return 0
    Path(out).write_text(text)
    if not only_key:
        note(f"Saved to {out}. Plan by it with: reconcile plan --snapshot {out}")
    return 0


def _snapshot(place: Place) -> str:
    def look() -> str | None:
        with looking(place) as reader:
            return reader.read_now(lambda tx: written(tx, lambda tx: sealer_of(tx, place.files)))

    found = look()
    if found is None:
        ordered(place, MakeSnapshotKey(person()))
        found = look()
    assert found is not None, "the key was made"
    return found


def _keys(place: Place) -> str:
    def look() -> list[str]:
        with looking(place) as reader:
            return reader.read_now(public_keys)

    found = look()
    if not found:
        ordered(place, MakeSnapshotKey(person()))
        found = look()
    return "".join(found)
