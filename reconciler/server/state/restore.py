"""Put a backup back: every part is checked first, then nothing counts before all of it is there.

What was under way when the backup was made has gone on since, nobody knows how far. So tasks that had not ended are
abandoned, their attempts are lost until their workers tell of them, and no commit is carried out before a person says so.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from reconciler.execute.records import end_task
from reconciler.model.errors import Refused, UsageMistake
from reconciler.model.following import Suspension
from reconciler.model.live import ActorKind, Event, StepState, Task, TaskId, TaskState
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.progress import End
from reconciler.server.state import origins
from reconciler.server.state.archive import DUMP, KEY, STATE, Manifest, read_backup
from reconciler.server.state.place import Place
from reconciler.server.state.sealing import KEY_FILE, check_key
from reconciler.server.state.times import stamp
from reconciler.store import attempts, audit, copies, following, migrations, setting_back, tasks
from reconciler.store.addresses import parted
from reconciler.store.database import Transaction
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory, EngineLock
from reconciler.store.writer import Store

SUSPENDED = 10 * 365 * 86_400.0
"""Seconds for which nothing is carried out unless somebody resumes."""

STAGE = "restoring"
"""The folder in which everything is made ready; where it stands without a state, a restore was interrupted."""

OURS = frozenset({STAGE, "lock", "logs", "blobs", "key", "agent", "cache"})
"""What an interrupted restore leaves."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the backup's manifest, the tasks that are abandoned, API tokens that hold again."""

    manifest: Manifest
    abandoned: tuple[TaskId, ...]
    access_tokens: int
    needs_key: bool
    """Sealed values are closed until the key is put in its place."""


def restore(path: Path, place: Place, actor: str) -> Restored:
    """Make the state that a backup holds in an empty place.

    Raises UsageMistake where the backup is not whole or of another kind, Refused where something is there already,
    StateUnreadable where it cannot be written.
    """
    manifest = read_backup(path)
    _check(path, manifest, place)
    files = place.files
    files.create_root()
    _check_empty(files, None if not is_address(place.data) else place.data)
    with EngineLock.take(files):
        _check_empty(files, None)
        stage = _staged(files)
        with closing(_Stage(stage)) as writing:
            read_backup(path, writing.sink_of)
        if is_address(place.data):
            _move(stage, files, "logs", "blobs", KEY)
            copies.put_back(place.data, stage / DUMP)  # nobody leads there before `_settle` is through
            found = _settle(place.data, files, manifest, actor)
        else:
            found = _settle(str(stage), DataDirectory(stage), manifest, actor)
            _move(stage, files, "logs", "blobs", KEY, STATE)  # the state comes last: it is what makes the rest one
        shutil.rmtree(stage)
    return found


def _check(path: Path, manifest: Manifest, place: Place) -> None:
    newest = len(migrations.migrations())
    if manifest.schema > newest:
        raise UsageMistake(
            f"{path} was made by a newer reconciler (schema {manifest.schema}, this one knows {newest})",
            "restore it with that one",
        )
    if manifest.has(DUMP) and not is_address(place.data):
        raise UsageMistake(f"{path} holds a state on PostgreSQL", "name an empty database with --data postgresql://…")
    if not manifest.has(DUMP) and is_address(place.data):
        raise UsageMistake(f"{path} holds a state of a directory", "name an empty directory with --data DIR")


def _check_empty(files: DataDirectory, data: str | None) -> None:
    """Refuse to write over anything; what an interrupted restore left is removed."""
    found = {entry.name for entry in files.root.iterdir()}
    if found - {"lock"} and not (STAGE in found and found <= OURS):
        name = min(found - OURS or found)
        raise Refused(
            f"{files.root} is not empty (it holds {name})",
            "restore into a directory that is empty or not there yet, then put it where the other one was",
        )
    if data is not None and not copies.is_empty(data):
        raise _occupied(parted(data).space)


def _occupied(space: str) -> Refused:
    if not space:
        return Refused("the database is not empty", "restore into a database that was made just now")
    return Refused(
        f"the space {space} has a state in the database already",
        "restore into another database; or, where that state is not needed any more, end the server and run there: "
        f'ALTER SCHEMA "{space}" RENAME TO "{space}_before"',
    )


def _staged(files: DataDirectory) -> Path:
    """Remove what an interrupted restore left, and make the folder anew."""
    for name in OURS - {"lock"}:
        left = files.root / name
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    stage = files.root / STAGE
    stage.mkdir(mode=0o700)
    return stage


class _Stage:
    """The folder in which parts are written, each made durable before the next one begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None

    def sink_of(self, name: str) -> Callable[[bytes], object]:
        """Begin a part and return what takes its pieces."""
        self.close()
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        return self._file.write

    def close(self) -> None:
        """End the part that was written last."""
        if self._file is not None:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self._file = None


def _settle(data: str, files: DataDirectory, manifest: Manifest, actor: str) -> Restored:
    with Store.open(data, files.root) as store:
        now = time.time()
        needs_key = bool(manifest.key) and not manifest.has(KEY) and not os.environ.get(KEY_FILE)
        if not needs_key:
            store.read_now(lambda tx: check_key(tx, files))
        abandoned, tokens = store.write_now(lambda tx: _set_back(tx, manifest, now, actor))
    return Restored(manifest, abandoned, tokens, needs_key)


def _set_back(tx: Transaction, manifest: Manifest, now: float, actor: str) -> tuple[tuple[TaskId, ...], int]:
    """Make a state of then one of now: nothing in it goes on by itself, and no number comes twice."""
    setting_back.leap(tx)
    setting_back.use_up(tx, now)
    made_at, origin = stamp(manifest.made_at), origins.of_command()
    event = Event(now, actor, "restore", "space", detail=f"from the backup of {made_at}")
    audit.record(tx, replace(event, kind=ActorKind.PERSON, origin=origin))
    unfinished = tasks.unfinished(tx)
    for held in attempts.held(tx):
        attempts.lose(tx, held.ticket, now)
    for task in unfinished:
        _abandon(tx, task, made_at, now)
    following.suspend(tx, Suspension(actor, f"restored from the backup of {made_at}", now, now + SUSPENDED))
    return tuple(task.id for task in unfinished), setting_back.access_tokens(tx, now)


def _abandon(tx: Transaction, task: Task, made_at: str, now: float) -> None:
    reason = f"it had not ended at {made_at}, when the state was backed up; what became of it since is unknown"
    left = [each for each in attempts.attempts(tx, task.id) if each.finished_at is None]
    for attempt in left:
        tasks.set_step(tx, task.id, attempt.step, StepState.LOST, reason=reason, at=now)
    tickets = [TicketId(attempt.ticket) for attempt in left]
    end_task(task, tasks.steps(tx, task.id), End(TaskState.ABANDONED, reason), tickets)(tx)


def _move(stage: Path, files: DataDirectory, *names: str) -> None:
    """Give parts their places, one after the other, each durable before the next."""
    for name in names:
        if (stage / name).exists():
            for folder in (stage / name, *(stage / name).glob("??")):
                if folder.is_dir():
                    _sync(folder)
            (stage / name).rename(files.root / name)
            _sync(files.root)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
