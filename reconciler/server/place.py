"""Where a command works: the space's root, the state and its files."""

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import UsageMistake
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory

DATA = ".reconcile"
"""The default data directory, at the space's root; it ignores itself in Git."""


@dataclass(frozen=True, slots=True)
class Place:
    """The root of a space; `data` is a directory or a `postgresql://` address, `files` holds all that is no row."""

    root: Path
    data: str
    files: DataDirectory

    @property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return self.files.cache


def place_of(directory: str | None, data: str | None, files: str | None) -> Place:
    """Resolve `-C`, `--data` and `--files`; raises UsageMistake where they make no sense together."""
    root = Path(directory).resolve() if directory else root_above(Path.cwd())
    if not root.is_dir():
        raise UsageMistake(f"there is no directory {root}", "name the repository with -C DIR")
    if data is not None and is_address(data):
        _refuse_password(data)
        if files is None:
            raise UsageMistake("a state on PostgreSQL needs a directory for its files", "name one with --files DIR")
        return Place(root, data, DataDirectory(Path(files).resolve()))
    where = Path(data).resolve() if data else root / DATA
    if files is not None:
        raise UsageMistake("--files belongs to --data postgresql://…; a state in a directory keeps its files there")
    return Place(root, str(where), DataDirectory(where))


def root_above(start: Path) -> Path:
    """Return the space that `start` lies in: the nearest reconcile.yaml above, else the repository, else `start`."""
    for folder in (start, *start.parents):
        if (folder / "reconcile.yaml").is_file():
            return folder
        if (folder / ".git").exists():
            return folder
    return start


def _refuse_password(address: str) -> None:
    authority = address.split("://", 1)[1].split("/", 1)[0]
    credentials = authority.rpartition("@")[0]
    if ":" in credentials or "password=" in address:
        raise UsageMistake(
            "the address of the database holds a password, and arguments are seen by everyone on the machine",
            "put it into PGPASSWORD, a pgpass file or a service file",
        )


def ignore_in_git(files: DataDirectory) -> None:
    """Make the data directory ignore itself, so that no state is ever committed."""
    marker = files.root / ".gitignore"
    if not marker.exists():
        marker.write_text("*\n")
        os.chmod(marker, 0o600)
