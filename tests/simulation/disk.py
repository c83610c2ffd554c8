"""Disks as a power cut leaves them: of files what was synced, of directories the names that were."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Name = tuple[str, int | str]
"""What a directory's entry leads to: the kind, and an inode or the target of a link."""


@dataclass
class Disk:
    """Remembers what was synced below some folders; `before_sync` may let whoever syncs die instead."""

    before_sync: Callable[[Path], None] = lambda _: None
    _contents: dict[int, bytes] = field(default_factory=dict)  # by inode
    _names: dict[int, dict[str, Name]] = field(default_factory=dict)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take the place of `os.fsync` and `os.fdatasync`."""
        real = os.fsync, os.fdatasync
        os.fsync = os.fdatasync = self._sync
        try:
            yield
        finally:
            os.fsync, os.fdatasync = real

    def adopt(self, folder: Path) -> None:
        """Take everything below a folder as synced."""
        self._sync_now(folder)
        for child in folder.iterdir():
            if child.is_dir():
                self.adopt(child)
            elif not child.is_symlink():
                self._sync_now(child)

    def durable(self, folder: Path, name: str) -> bytes:
        """Return what a power cut would leave of a file; nothing where its name was not synced."""
        _, inode = self._names.get(folder.stat().st_ino, {}).get(name, ("", -1))
        return self._contents.get(inode, b"") if isinstance(inode, int) else b""

    def cut_power(self, folder: Path) -> None:
        """Leave what was synced below a folder."""
        names = self._names.get(folder.stat().st_ino, {})
        kept = {name: self._kept(kind, target) for name, (kind, target) in names.items()}
        for child in folder.iterdir():
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        self._restore(folder, kept)
        self.adopt(folder)

    def _kept(self, kind: str, target: int | str) -> object:
        if isinstance(target, str):
            return target
        if kind == "file":
            return self._contents.get(target, b"")
        return {name: self._kept(*entry) for name, entry in self._names.get(target, {}).items()}

    def _restore(self, folder: Path, kept: dict[str, object]) -> None:
        for name, content in kept.items():
            path = folder / name
            if isinstance(content, str):
                path.symlink_to(content)
            elif isinstance(content, bytes):
                path.write_bytes(content)
                path.chmod(0o600)
            elif isinstance(content, dict):
                path.mkdir(mode=0o700)
                self._restore(path, content)

    def _sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}")
        self.before_sync(path)
        self._sync_now(path)

    def _sync_now(self, path: Path) -> None:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = {entry.name: _name(entry) for entry in os.scandir(path)}
        else:
            self._contents[found.st_ino] = path.read_bytes()


def _name(entry: os.DirEntry[str]) -> Name:
    if entry.is_symlink():
        return "link", os.readlink(entry.path)
    return ("folder" if entry.is_dir() else "file"), entry.inode()
