"""A script's output on its way to the journal: service messages taken out, secrets masked, limits kept."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from typing import Callable, Optional

from reconciler.agent import durable
from reconciler.agent.masking import Masker
from reconciler.agent.service import ServiceMessage, Splitter
from reconciler.protocol import journal
from reconciler.protocol.journal import Kind, Level, Record
from reconciler.protocol.tickets import Digest, OutputLimit

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class JournalFullError(Exception):
    """A journal has the length that no server takes more of."""

    def __init__(self, longest: int) -> None:
        super().__init__(f"its log has reached {longest} bytes; print less, or set another outputLimit")


class JournalWriter:
    """Appends records to an empty file, `longest` bytes at most; remembers length and SHA-256 of what it holds."""

    def __init__(self, descriptor: int, longest: int = journal.JOURNAL_BYTES_MAX) -> None:
        self._descriptor = descriptor
        self._longest = longest
        self._digest = hashlib.sha256()
        self.length = 0

    def append(self, kind: Kind, level: Level, data: bytes) -> None:
        """Write `data` as records; raise `OSError` or `JournalFullError` with the journal ending before that record."""
        for start in range(0, len(data), journal.RECORD_BYTES_MAX):
            piece = data[start : start + journal.RECORD_BYTES_MAX]
            self._write(journal.encoded(Record(kind, level, time.time_ns() // 1_000_000, piece)))

    def digest(self) -> Digest:
        """Return the SHA-256 of everything written."""
        return Digest(self._digest.hexdigest())

    def sync(self) -> None:
        """Make everything written durable."""
        if self.length:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self, record: bytes) -> None:
        if self.length + len(record) > self._longest:
            raise JournalFullError(self._longest)
        view = memoryview(record)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self.length)  # whole records only
            raise
        self._digest.update(record)
        self.length += len(record)


def begun_journal(directory: int, limit: Optional[OutputLimit]) -> JournalWriter:
    """Create the file `journal` in the open `directory`, empty, as long as a script with `limit` may need at most."""
    descriptor = os.open("journal", FLAGS, durable.FILE_MODE, dir_fd=directory)
    return JournalWriter(descriptor, journal.journal_bytes_max(limit))


class Limiter:
    """Counts output against the ticket's limit."""

    def __init__(self, limit: Optional[OutputLimit]) -> None:
        self._limit = limit
        self._seen = 0
        self.dropped = 0

    def allowed(self, data: bytes) -> bytes:
        """Return what of `data` the limit lets through, counting the rest."""
        if self._limit is None:
            return data
        room = max(0, self._limit.bytes_max - self._seen)
        self._seen += len(data)
        self.dropped += max(0, len(data) - room)
        return data[:room]

    @property
    def wants_kill(self) -> bool:
        """Say whether the script is to be killed for what it printed."""
        return self.dropped > 0 and self._limit is not None and self._limit.then == "kill"


class OutputStream:
    """Standard output or error of a script."""

    def __init__(
        self,
        kind: Kind,
        nonce: str,
        values: Iterable[str],
        writer: JournalWriter,
        limiter: Limiter,
        *,
        on_message: Callable[[ServiceMessage], None],
    ) -> None:
        self._kind = kind
        self._splitter = Splitter(nonce)
        self._masker = Masker([nonce, *values])
        self._writer = writer
        self._limiter = limiter
        self._on_message = on_message
        self.level = Level.INFO

    def feed(self, data: bytes) -> None:
        """Take what the script printed; raise `OSError`, `JournalFullError` if the journal cannot be written."""
        for piece in self._splitter.feed(data):
            if isinstance(piece, ServiceMessage):
                self._on_message(piece)
            else:
                self._write(self._masker.feed(piece))

    def close(self) -> None:
        """Write what was held back, at the end of the output."""
        self._write(self._masker.feed(self._splitter.close()))
        self._write(self._masker.close())

    def add_masks(self, values: Iterable[str]) -> None:
        """Mask `values` from here on."""
        self._masker.add(values)

    def _write(self, data: bytes) -> None:
        data = self._limiter.allowed(data)
        if data:
            self._writer.append(self._kind, self.level, data)


def masked(text: str, values: Iterable[str]) -> str:
    """Return `text` without secrets, for sentences that travel beside the journal."""
    if not text:
        return text
    masker = Masker(values)
    shown = masker.feed(text.encode("utf-8", "surrogateescape")) + masker.close()
    return shown.decode("utf-8", "replace")
