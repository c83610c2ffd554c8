"""Retention: what is old and needed by nobody goes, a small batch at a time; first its rows, then its files.

A kill in between leaves files that nobody names; the next pass finds them. Nothing that a plan reads is removed.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from reconciler.server.state.retention_settings import KEEPING, RetentionTable
from reconciler.store import named_files, retention
from reconciler.store.blobs import drop_blob
from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory
from reconciler.store.writer import Store

FIRST_AFTER = 300.0
"""Seconds from the start of an engine to the first pass: there is enough to do at the start."""

EVERY = 3_600.0
"""Seconds from one pass to the next."""

BATCH = 20
"""Rows of one transaction: each takes some 10 ms where there are many, and others wait for their turn."""

YOUNG = 86_400.0
"""Seconds for which a file that nobody names is left alone: what will name it may be on its way."""

JOURNAL = ".journal"

T = TypeVar("T")
Removal = Callable[[Transaction, Sequence[T]], int]


async def look_after_retention(
    store: Store, files: DataDirectory, settings: RetentionTable, removed: "Counter[str]"
) -> None:
    """Remove what is old until cancelled; `removed` counts it by what it was."""
    if settings == KEEPING:
        await asyncio.Event().wait()
    await asyncio.sleep(FIRST_AFTER)
    while True:
        await Pass(store, files, settings, removed).run(time.time())
        await asyncio.sleep(EVERY)


@dataclass(frozen=True, slots=True)
class Pass:
    """One look at everything; `unlink` removes a file."""

    store: Store
    files: DataDirectory
    settings: RetentionTable
    removed: "Counter[str]" = field(default_factory=Counter)
    unlink: Callable[[Path], None] = Path.unlink

    async def run(self, now: float) -> None:
        """Remove what is old at `now`, in seconds since the epoch; raises StateUnreadable where nothing can be written."""
        settings = self.settings
        if (before := settings.cut(settings.tasks, now)) is not None:
            old = await self.store.read(partial(retention.old_tasks, before=before, per_slot=settings.tasks_per_slot))
            await self._remove("tasks", old, retention.remove_tasks)
            await self._remove("pins", await self.store.read(retention.unused_pins), retention.remove_pins)
            await self._remove_pinned_files()
        if (before := settings.cut(settings.logs, now)) is not None:
            old_logs = await self.store.read(partial(retention.old_logs, before=before))
            await self._remove("logs", old_logs, retention.remove_logs)
        if (before := settings.cut(settings.artifacts, now)) is not None:
            left = await self.store.read(partial(retention.old_artifacts, before=before))
            await self._remove("artifacts", left, retention.remove_artifacts)
        if (before := settings.cut(settings.audit, now)) is not None:
            cut = before
            self.removed["events"] += await self.store.write(lambda tx: retention.prune_audit(tx, cut, now))
        await self._remove_files(now)

    async def _remove(self, what: str, found: Sequence[T], remove: Removal[T]) -> None:
        for batch in _batches(found):
            self.removed[what] += await self.store.write(partial(_removing, remove, batch))

    async def _remove_pinned_files(self) -> None:
        """Remove the script files in the database that no pin names."""
        newest, kept, needed = await self.store.read(
            lambda tx: (retention.last_task(tx), retention.pinned_files(tx), named_files.blobs(tx))
        )
        unused = [digest for digest in kept if digest not in needed]
        remove: Removal[str] = partial(_remove_pinned_files, newest=newest)
        await self._remove("scripts", unused, remove)

    async def _remove_files(self, now: float) -> None:
        """Remove the files that nobody names; what is there is listed before it is asked who names it."""
        logs, blobs = await asyncio.to_thread(lambda: (list(_logs(self.files)), list(_blobs(self.files))))
        asked = time.time()
        needed, tickets = await self.store.read(
            lambda tx: (named_files.blobs(tx), {found.ticket for found in named_files.logs(tx)})
        )
        old = min(now, asked) - YOUNG
        unnamed = [path for path in logs if path.name.removesuffix(JOURNAL) not in tickets]
        await asyncio.to_thread(self._unlink_logs, unnamed, old)
        unneeded = [path for path in blobs if path.name not in needed]
        self.removed["blobs"] += await asyncio.to_thread(self._unlink_blobs, unneeded, old)

    def _unlink_logs(self, paths: Sequence[Path], old: float) -> None:
        for path in paths:
            with suppress(OSError):  # the next pass tries it again
                if path.stat().st_mtime < old:
                    self.unlink(path)

    def _unlink_blobs(self, paths: Sequence[Path], old: float) -> int:
        return sum(drop_blob(path, old, self.unlink) for path in paths)


def _removing(remove: Removal[T], batch: Sequence[T], tx: Transaction) -> int:
    return remove(tx, batch)


def _remove_pinned_files(tx: Transaction, digests: Sequence[str], newest: int) -> int:
    return retention.remove_pinned_files(tx, digests, newest)


def _batches(found: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), BATCH):
        yield found[start : start + BATCH]


def _logs(files: DataDirectory) -> Iterator[Path]:
    return (files.logs / name for name in os.listdir(files.logs) if name.endswith(JOURNAL))


def _blobs(files: DataDirectory) -> Iterator[Path]:
    """Yield the blobs that are whole; what is on its way has another form of name."""
    return (path for path in files.blobs.glob("??/*") if len(path.name) == 64)
