"""`reconcile backup`: the whole state in one file, while the engine works."""

import sys
from pathlib import Path

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import appearing, discard, note
from reconciler.model.errors import ReconcilerError, UsageMistake
from reconciler.server.state.archive import KEY, Manifest
from reconciler.server.state.times import stamp

ABSENT_SHOWN = 10


@click.command("backup")
@click.option("--to", "target", metavar="FILE", required=True, help="Where to write it; - is standard output.")
@click.option("--with-key", is_flag=True, help="Put the key in, too; whoever has the file can then open every secret.")
@at_desk
def command(*, target: str, with_key: bool, desk: Desk) -> int:
    """Write the state as it is now into one tar file: the database, logs, artifacts, scripts.

    An engine may work on it meanwhile. The file appears when it is whole.
    """
    if target == "-":
        if sys.stdout.isatty():
            raise UsageMistake("a backup is no text for a terminal", "name a file: --to FILE")
        manifest = _piped(desk, with_key=with_key)
    else:
        with appearing(Path(target), 0o600) as file:
            manifest = desk.back_up(file, with_key=with_key)
    _tell(manifest, target)
    return 0


def _piped(desk: Desk, *, with_key: bool) -> Manifest:
    """Write a backup to standard output; raises ReconcilerError where nobody reads it to its end."""
    try:
        manifest = desk.back_up(sys.stdout.buffer, with_key=with_key)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise ReconcilerError(
            "what reads the backup ended before it was whole", "what it has kept is no backup; run the command again"
        ) from None
    return manifest


def _tell(manifest: Manifest, target: str) -> None:
    counts = manifest.counts
    size = sum(part.size for part in manifest.parts)
    note(
        f"backed up {manifest.space or 'a state without a space'} as it was at {stamp(manifest.made_at)}: "
        f"{', '.join(_count(number, name) for name, number in counts.items())}; {size} bytes"
    )
    for sentence in manifest.absent[:ABSENT_SHOWN]:
        note(f"Warning: {sentence}")
    if len(manifest.absent) > ABSENT_SHOWN:
        note(f"Warning: {len(manifest.absent) - ABSENT_SHOWN} more files are not in the backup or not whole")
    if manifest.has(KEY):
        note(f"Warning: {target} holds the key; keep it where you keep secrets")
    elif manifest.key:
        note("The key is not in it; without the key no secret of it can be read. Keep a copy elsewhere.")


def _count(number: int, name: str) -> str:
    return f"{number} {name if number != 1 else name.removesuffix('s')}"
