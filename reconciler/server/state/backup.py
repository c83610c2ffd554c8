"""Back a state up while an engine works on it: the database at one moment, and the files that it names."""

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from reconciler.model.live import Event
from reconciler.server.state.archive import DUMP, KEY, STATE, Archive, Manifest
from reconciler.server.state.looking import refuse_several
from reconciler.server.state.origins import kind_of
from reconciler.server.state.place import Place
from reconciler.server.state.sealing import key_path, sealer_of
from reconciler.store import audit, keys, named_files, objects
from reconciler.store.blobs import blob_path
from reconciler.store.copies import copied
from reconciler.store.database import Transaction
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.migrations import schema_version
from reconciler.store.named_files import NamedLog

ROOM = "backup-"
"""What the name of a folder begins with in which the copy of a database lies."""

COUNTED = ("objects", "tasks", "attempts", "events")


@dataclass(slots=True)
class _Copying:
    """The files of one backup on their way into it; `absent` says of those that were not there."""

    archive: Archive
    files: DataDirectory
    absent: list[str]

    def log(self, named: NamedLog) -> None:
        """Add a log, as long as the database says; of one that still grows, what is there."""
        if not (file := self._opened(self.files.logs / f"{named.ticket}.journal")):
            if named.length:
                self.absent.append(f"the log of the attempt {named.ticket} is not in these files")
            return
        with file:
            held = os.fstat(file.fileno()).st_size
            length = held if named.length is None else min(held, named.length)
            part = self.archive.add(f"logs/{named.ticket}.journal", file, length)
        if named.length is not None and part.sha256 != named.digest:
            self.absent.append(f"the log of the attempt {named.ticket} is not whole in these files")

    def blob(self, digest: str, *, is_artifact: bool) -> None:
        """Add a blob; what only looks like the digest of one may be anything, and need not be there."""
        path = blob_path(self.files.blobs, digest)
        if not (file := self._opened(path)):
            if is_artifact:
                self.absent.append(f"the artifact {digest[:12]} is not in these files")
            return
        with file:
            part = self.archive.add(f"blobs/{digest[:2]}/{digest}", file, os.fstat(file.fileno()).st_size)
        if part.sha256 != digest:
            self.absent.append(f"the file {path} is not what its name says")

    def _opened(self, path: Path) -> BinaryIO | None:
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError:
            return None


def back_up(place: Place, out: BinaryIO, *, with_key: bool) -> Manifest:
    """Write a backup of a state to `out`, front to back, and return its manifest.

    Raises UsageMistake where there is no state, StateUnreadable where it is broken, OSError where `out` takes no more.
    """
    refuse_several(place, "back each up by itself: reconcile backup --data {folder} --to FILE")
    now = time.time()
    with _room(place.files.cache) as room:
        copy = room / "copy"
        with copied(place.data, copy) as tx:  # it ends before anything is written, for `out` may take its time
            named = _named(tx)
            if with_key and named.key:
                sealer_of(tx, place.files)  # it is the one in use
        archive = Archive(out, now)
        with copy.open("rb") as file:
            archive.add(DUMP if is_address(place.data) else STATE, file, copy.stat().st_size)
        copying = _Copying(archive, place.files, [])
        for log in named.logs:
            copying.log(log)
        for digest in named.blobs:
            copying.blob(digest, is_artifact=digest in named.artifacts)
        if with_key and named.key:
            with key_path(place.files).open("rb") as file:
                archive.add(KEY, file, os.fstat(file.fileno()).st_size)
        absent, parts = tuple(copying.absent), tuple(archive.parts)
        manifest = Manifest(now, named.space, named.schema, named.key, named.counts, absent, parts)
        archive.finish(manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _Named:
    """What a copy of a database says: whose it is, how much is in it, and the files that it names."""

    space: str
    schema: int
    key: str
    counts: Mapping[str, int]
    logs: Sequence[NamedLog]
    artifacts: Collection[str]
    blobs: Sequence[str]


def _named(tx: Transaction) -> _Named:
    bound = objects.binding(tx)
    return _Named(
        bound.space if bound is not None else "",
        schema_version(tx),
        keys.in_use(tx) or "",
        {name: _count(tx, name) for name in COUNTED},
        list(named_files.logs(tx)),
        named_files.artifacts(tx),
        sorted(named_files.blobs(tx)),
    )


@contextmanager
def _room(cache: Path) -> Iterator[Path]:
    """Make a folder for the copy of a database, and remove those of backups that were killed."""
    with ExitStack() as stack:
        if cache.is_dir():
            with _locked(cache, fcntl.LOCK_EX):
                for left in cache.glob(f"{ROOM}*"):
                    with suppress(BlockingIOError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        shutil.rmtree(left)  # who still works would hold it
                folder = Path(stack.enter_context(TemporaryDirectory(prefix=ROOM, dir=cache)))
                stack.enter_context(_locked(folder, fcntl.LOCK_EX))
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix=ROOM)))
        yield folder


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def record_backup(tx: Transaction, actor: str, origin: str, now: float) -> None:
    """Write into the audit that somebody begins to take a backup from afar."""
    audit.record(
        tx, Event(now, actor, "backup", "space", detail="begun, without the key", kind=kind_of(origin), origin=origin)
    )


def _count(tx: Transaction, table: str) -> int:
    row = tx.one(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 - one of our own tables
    assert row is not None
    return int(row[0])
