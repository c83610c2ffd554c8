"""Blobs: files named by their SHA-256, durable and right, or not there at all."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from reconciler.model.errors import StateUnreadable

_DECIDING = threading.Lock()
"""Held while it is decided whether a blob stays: only the engine of these files removes any."""


def blob_path(blobs: Path, digest: str) -> Path:
    """Return where the blob `digest` is, or would be."""
    return blobs / digest[:2] / digest


def put_blob(blobs: Path, digest: str, data: bytes) -> None:
    """Keep `data` under its digest, durably; raises StateUnreadable where the disk does not take it."""
    path = blob_path(blobs, digest)
    if is_kept(path):
        return
    beside = path.with_name(f"{digest}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        with suppress(OSError):  # where the folder is a file, nothing can lie in it
            beside.unlink()
        raise StateUnreadable(
            f"the file {path} cannot be written: {error.strerror}", "make room or make the data directory writable"
        ) from error


def read_blob(blobs: Path, digest: str) -> bytes:
    """Return the blob; raises StateUnreadable where it is gone."""
    path = blob_path(blobs, digest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def open_blob(blobs: Path, digest: str) -> BinaryIO:
    """Open the blob for reading; raises StateUnreadable where it is gone."""
    path = blob_path(blobs, digest)
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def is_kept(path: Path) -> bool:
    """Say whether a blob is there; it then stays for a day, until something names it."""
    with _DECIDING:
        try:
            os.utime(path)
        except (FileNotFoundError, NotADirectoryError):  # whoever writes it says what stands in its way
            return False
    return True


def drop_blob(path: Path, before: float, unlink: Callable[[Path], None]) -> bool:
    """Remove a blob that nobody names and nobody has asked for since `before`, in seconds since the epoch; False if not."""
    with _DECIDING:
        try:
            if path.stat().st_mtime >= before:
                return False
            unlink(path)
        except OSError:  # the next look tries it again
            return False
    return True


def _unreadable(path: Path, error: OSError) -> StateUnreadable:
    return StateUnreadable(
        f"the file {path} cannot be read: {error.strerror}", "restore the data directory from a backup"
    )
