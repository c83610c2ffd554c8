"""`reconcile init`: a working repository to start from."""

from collections.abc import Mapping
from pathlib import Path

import click

from reconciler.cli.output import note
from reconciler.declare.globs import SPACE_FILE
from reconciler.model.errors import UsageMistake

FOLDER = Path(__file__).parent / "skeleton"
"""The files of the skeleton, as they are written."""


@click.command("init")
@click.argument("directory", default=".", metavar="[DIR]")
def command(*, directory: str) -> int:
    """Write a working repository skeleton into DIR, with comments; no existing file is touched."""
    root = Path(directory)
    if (root / SPACE_FILE).exists():
        raise UsageMistake(f"{root / SPACE_FILE} exists already; nothing was written", "choose another directory")
    for name, text in skeleton().items():
        path = root / name
        if path.exists():
            click.echo(f"kept {path}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(f"wrote {path}")
    if not _in_git(root.resolve()):
        from git import Repo

        Repo.init(root, initial_branch="main")
        click.echo(f"made {root.resolve()} a Git repository")
    prefix = "" if directory == "." else f"cd {directory} && "
    note(f"Next: {prefix}git add -A && git commit -m 'First declarations' && reconcile plan")
    return 0


def skeleton() -> Mapping[str, str]:
    """Return the files of the skeleton by their paths."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.is_file())
    return {_name(path): path.read_text() for path in paths}


def _name(path: Path) -> str:
    """Return the name that a file gets: `dot-` at the beginning of a part stands for a dot."""
    parts = path.relative_to(FOLDER).parts
    return "/".join(f".{part.removeprefix('dot-')}" if part.startswith("dot-") else part for part in parts)


def _in_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))
