"""Where a command works: the space's root, the state and its files."""

from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import UsageMistake
from reconciler.store.addresses import parted
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

    def of(self, space: str) -> "Place":
        """Return the place of one space of a server, whose folder is its root too; raises UsageMistake."""
        files = DataDirectory(self.files.root / space)
        data = parted(self.data).of(space) if is_address(self.data) else str(files.root)
        return Place(files.root, data, files)


def place_of(directory: str | None, data: str | None, files: str | None) -> Place:
    """Resolve `-C`, `--data` and `--files`; raises UsageMistake where they make no sense together.

    Where the address of a database names a space, its files are the folder of that name in `--files`.
    """
    root = _root(directory)
    if data is not None and is_address(data):
        _refuse_password(data)
        if files is None:
            raise UsageMistake("a state on PostgreSQL needs a directory for its files", "name one with --files DIR")
        return Place(root, data, DataDirectory(Path(files).resolve() / parted(data).space))
    where = Path(data).resolve() if data else root / DATA
    if files is not None:
        raise UsageMistake("--files belongs to --data postgresql://…; a state in a directory keeps its files there")
    return Place(root, str(where), DataDirectory(where))


def _root(directory: str | None) -> Path:
    try:
        root = Path(directory).resolve() if directory else root_above(Path.cwd())
    except FileNotFoundError as error:
        raise UsageMistake("the current directory does not exist any more", "change to another one") from error
    if not root.is_dir():
        raise UsageMistake(f"there is no directory {root}", "name the repository with -C DIR")
    return root


def root_above(start: Path) -> Path:
    """Return the space that `start` lies in: the nearest reconcile.yaml above, else the repository, else `start`."""
    for folder in (start, *start.parents):
        if (folder / "reconcile.yaml").is_file():
            return folder
        if (folder / ".git").exists():
            return folder
    return start


def folder_in_repository(root: Path) -> str:
    """Return the way from the repository to a space in it, `a/b`; empty at its root and outside Git."""
    repository = _repository(root)
    return "" if repository in {None, root} else root.relative_to(repository or root).as_posix()


def is_shallow(root: Path) -> bool:
    """Say whether the repository is a shallow clone, as CI makes them: its history begins at an arbitrary commit."""
    repository = _repository(root)
    return repository is not None and (repository / ".git" / "shallow").is_file()


def _repository(root: Path) -> Path | None:
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)


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
    marker, prepared = files.root / ".gitignore", files.root / ".gitignore.new"
    if not marker.exists():
        prepared.write_text("*\n")
        prepared.chmod(0o600)
        prepared.replace(marker)  # whole or not there: after a kill in between the state would not be ignored
