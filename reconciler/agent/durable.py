"""Files that survive a power cut: written under another name, synced, then published in one step."""

from __future__ import annotations

import os

FILE_MODE = 0o600
READ_BYTES = 1 << 20
LINK_BYTES_MAX = 4095  # a path without its zero byte
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def publish(directory: int, name: str, data: bytes) -> None:
    """Create the file `name` in the open `directory`; when this returns, `data` and the name are durable.

    The name comes before the sync: a power cut between them leaves a torn file, which every reader takes for none,
    and one commit of the file system carries both.
    """
    descriptor = _written(directory, name)
    try:
        write_all(descriptor, data)
        os.rename(_temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.fsync(directory)


def replace(directory: int, name: str, data: bytes, mode: int = FILE_MODE) -> None:
    """Replace the file `name` in the open `directory`, durably; a power cut leaves the old or the new content."""
    descriptor = _written(directory, name)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(_temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def claim(directory: int, name: str, data: bytes) -> bool:
    """Create the symbolic link `name` unless somebody did before; say whether it was us. Durable when this returns.

    `data`, at most `LINK_BYTES_MAX` without a zero byte, is what the link points to: name and content come into being
    in one step of the directory, so that one sync carries both. `claimed` reads it.
    """
    assert len(data) <= LINK_BYTES_MAX, len(data)
    try:
        os.symlink(data, os.fsencode(name), dir_fd=directory)
    except FileExistsError:
        return False
    os.fsync(directory)
    return True


def claimed(directory: int, name: str) -> bytes:
    """Return what `claim` wrote."""
    return os.readlink(os.fsencode(name), dir_fd=directory)


def create(directory: int, name: str, data: bytes = b"") -> int:
    """Write the new file `name`, not yet durable, and return its descriptor."""
    descriptor = os.open(name, CREATE, FILE_MODE, dir_fd=directory)
    try:
        write_all(descriptor, data)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def append(path: str, data: bytes) -> None:
    """Add `data` to the end of the file at `path`; durable when this returns, if the file was there before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(directory: int, name: str) -> bytes:
    """Return the content of the file `name` in the open `directory`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        pieces = []
        while piece := os.read(descriptor, READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def sync(directory: int, name: str) -> None:
    """Make the content of the file `name` in the open `directory` durable, whoever wrote it."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in the directory at `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(name: str) -> str:
    return f"{name}.{os.getpid()}"


def _written(directory: int, name: str) -> int:
    return os.open(_temporary(name), CREATE, FILE_MODE, dir_fd=directory)


def write_all(descriptor: int, data: bytes) -> None:
    """Write `data` where the file stands."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
