"""`reconcile restore`: make a state from a backup, in an empty place."""

from pathlib import Path

import click

from reconciler.cli.options import beside_state
from reconciler.cli.ordering import person
from reconciler.cli.output import note
from reconciler.server.state.place import Place
from reconciler.server.state.restore import Restored, restore
from reconciler.server.state.sealing import key_path
from reconciler.server.state.times import stamp


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@beside_state
def command(*, file: Path, place: Place) -> int:
    """Make the state that the backup FILE holds, in an empty directory; every part of it is checked first.

    No commit is carried out on it before `reconcile resume`, and tasks that had not ended are abandoned.
    """
    found = restore(file, place, person())
    _tell(found, place)
    return 0


def _tell(found: Restored, place: Place) -> None:
    manifest = found.manifest
    click.echo(f"Restored {manifest.space or 'a state without a space'} as it was at {stamp(manifest.made_at)}.")
    if found.abandoned:
        count, names = len(found.abandoned), ", ".join(map(str, found.abandoned))
        click.echo(f"{count} task{'s' if count > 1 else ''} that had not ended {_are(count)} abandoned: {names}")
    click.echo("No commit is carried out. Look at what would run: reconcile plan; then go on with: reconcile resume")
    if found.access_tokens:
        count = found.access_tokens
        note(
            f"Warning: {count} token{'s' if count > 1 else ''} of the API {_hold(count)} as at that time; "
            "revoke again what was revoked since"
        )
    note("Warning: agents' identities that were revoked since that time are trusted again; revoke them again")
    for sentence in manifest.absent:
        note(f"Warning: {sentence}; it was not in the backup")
    if found.needs_key:
        note(f"The key is not in the backup. Put it into {key_path(place.files)}, with mode 0600, before you go on.")


def _are(count: int) -> str:
    return "are" if count > 1 else "is"


def _hold(count: int) -> str:
    return "hold" if count > 1 else "holds"
