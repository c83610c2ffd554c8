"""Artifacts: files that a script left, copied out of its working directory under their digest."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from reconciler.agent import durable
from reconciler.protocol.tickets import Artifact, Digest

COPY_BYTES = 1 << 20
ARTIFACTS_MAX = 1000  # per ticket: the final that lists them is one frame
NAME_MAX = 255


class NotCollectableError(Exception):
    """A file cannot be kept as an artifact; the sentence says why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"artifact {path}: {why}")


def matching(work: str, pattern: str) -> list[str]:
    """Return the files below `work` that `pattern` names, relative to it, in order.

    Of what lies behind a link that leads outside, the link alone is named: the rest is not the script's to list.
    """
    escaped = os.path.join(glob.escape(work), pattern)
    found = (os.path.relpath(path, work) for path in glob.iglob(escaped, recursive=True) if os.path.isfile(path))
    root, known = os.path.realpath(work), {"": ""}
    return sorted({_way_out(root, os.path.dirname(path), known) or path for path in found})


def _way_out(root: str, directory: str, known: dict[str, str]) -> str:
    """Return the part of `directory` that leads out of `root`, empty if none does; `known` holds earlier answers."""
    if directory not in known:
        is_inside = _is_inside(os.path.realpath(os.path.join(root, directory)), root)
        known[directory] = _way_out(root, os.path.dirname(directory), known) or ("" if is_inside else directory)
    return known[directory]


def collect(work: str, store: str, wanted: Iterable[tuple[str, str]]) -> Iterator[Artifact | NotCollectableError]:
    """Copy each wanted (path, name) into the directory `store`; yield what became of it."""
    os.makedirs(store, mode=0o700, exist_ok=True)
    names: set[str] = set()
    for path, name in wanted:
        if name in names:
            continue
        names.add(name)
        try:
            if len(names) > ARTIFACTS_MAX:
                raise NotCollectableError(path, f"more than {ARTIFACTS_MAX} artifacts; pack them into one file")
            yield _copied(work, store, path, name)
        except NotCollectableError as error:
            yield error
        except OSError as error:
            yield NotCollectableError(path, f"cannot be read: {error.strerror}")
    durable.sync_directory(store)
    durable.sync_directory(os.path.dirname(store))


def _copied(work: str, store: str, path: str, name: str) -> Artifact:
    if not 0 < len(name) <= NAME_MAX:
        raise NotCollectableError(path, f"its name has {len(name)} characters, 1 to {NAME_MAX} are allowed")
    with _opened(work, path) as source:
        partial = os.path.join(store, ".partial")
        digest, size = hashlib.sha256(), 0
        with open(partial, "wb") as target:
            while data := source.read(COPY_BYTES):
                digest.update(data)
                target.write(data)
                size += len(data)
            target.flush()
            os.fsync(target.fileno())
        os.rename(partial, os.path.join(store, digest.hexdigest()))
    return Artifact(name, size, Digest(digest.hexdigest()))


def _opened(work: str, path: str) -> BinaryIO:
    """Open a file of the script to read; what it is and where is judged before, on the file itself and not its name."""
    found = os.open(os.path.join(work, path), os.O_PATH | os.O_CLOEXEC)
    try:
        status, owner = os.fstat(found), os.stat(work).st_uid
        if not _is_inside(os.readlink(f"/proc/self/fd/{found}"), os.path.realpath(work)):
            raise NotCollectableError(path, "lies outside the working directory; copy it there first")
        if not stat.S_ISREG(status.st_mode):
            raise NotCollectableError(path, "is no regular file")
        if owner not in (status.st_uid, os.geteuid()):
            raise NotCollectableError(path, "belongs to another account than the script's; copy it first")
        return open(f"/proc/self/fd/{found}", "rb")
    finally:
        os.close(found)


def _is_inside(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")
