"""The data directory: what lies where, and the lock that makes one engine its owner."""

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.model.errors import Conflict, StateUnreadable

OWNER_BYTES_MAX = 300  # a process id and a host name


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """The files of one installation, all under `root`."""

    root: Path

    @property
    def state(self) -> Path:
        """The embedded database."""
        return self.root / "state.db"

    @property
    def key(self) -> Path:
        """The key that seals sensitive values."""
        return self.root / "key"

    @property
    def node(self) -> Path:
        """What tells these files from those of other nodes."""
        return self.root / "node"

    @property
    def lock(self) -> Path:
        """The file whose lock the engine holds."""
        return self.root / "lock"

    @property
    def socket(self) -> Path:
        """Where a live engine listens for commands."""
        return self.root / "control.sock"

    @property
    def logs(self) -> Path:
        """Log bytes, one file per attempt."""
        return self.root / "logs"

    @property
    def blobs(self) -> Path:
        """Artifacts and scripts by digest."""
        return self.root / "blobs"

    @property
    def agent(self) -> Path:
        """The state of the built-in worker's agent."""
        return self.root / "agent"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return self.root / "cache"

    def create_root(self) -> None:
        """Make the directory and what leads to it, open to their owner alone; what is there stays as it is."""
        _make(self.root)

    def create(self) -> None:
        """Make the directory, what leads to it and its folders, open to their owner alone; raises StateUnreadable.

        What is there already stays as it is.
        """
        try:
            for folder in (self.root, self.logs, self.blobs, self.agent, self.cache):
                _make(folder)
        except OSError as error:
            raise StateUnreadable(
                f"the data directory {self.root} cannot be made: {error.strerror}",
                "make its parent writable for the user who runs this, or name another with --data",
            ) from error


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


class EngineLock:
    """The engine's right to a data directory; ends with `release` or with the process, however that dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: DataDirectory) -> Self:
        """Become the one engine of `directory`; raises Conflict while another is."""
        try:
            descriptor = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnreadable(
                f"the lock {directory.lock} cannot be opened: {error.strerror}",
                "make the data directory writable for the user who runs this, or name another with --data",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, OWNER_BYTES_MAX).decode(errors="replace").strip()
            os.close(descriptor)
            raise _held(directory, owner) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        return cls(descriptor)

    def release(self) -> None:
        """Let another engine in."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _held(directory: DataDirectory, owner: str) -> Conflict:
    process, _, host = owner.partition(" ")
    elsewhere = f" on {host}" if host and host != socket.gethostname() else ""
    named = f" (pid {process}{elsewhere})" if process else ""
    return Conflict(
        f"another engine{named} works on {directory.root}",
        "wait until it ends; where it is a server, commit what you want, and follow it: reconcile wait --commit COMMIT",
    )
