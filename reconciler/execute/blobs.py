"""Blobs on the server: files named by their SHA-256, sent to workers and received from them."""

import hashlib
import os
import re
from pathlib import Path

from reconciler.protocol.frames import FileBytes, cut
from reconciler.protocol.messages import PIECE_BYTES_MAX, Get
from reconciler.protocol.tickets import Digest, TicketId

PARTIAL = ".partial"
PARTIAL_KEPT = 7 * 86_400.0  # seconds; a worker that was away for longer sends a file from its beginning

DIGEST = re.compile("[0-9a-f]{64}")


class WrongBlobError(Exception):
    """A file was received whole and is not what its digest says."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"file {digest[:12]}…: other bytes than announced came from the worker; run the step again")


class NoDigestError(Exception):
    """A worker named a file by something that is no SHA-256."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"{digest[:80]!r} is no SHA-256; the worker's agent is broken or hostile")


def blob_path(blobs: Path, digest: Digest) -> Path:
    """Return where the file `digest` is, or would be; raise `NoDigestError`, since agents choose the text."""
    if not DIGEST.fullmatch(digest):
        raise NoDigestError(digest)
    return blobs / digest[:2] / digest


def pieces(blobs: Path, get: Get) -> list[FileBytes]:
    """Read what `get` asks for, at most `PIECE_BYTES_MAX`; raise `OSError` if the blob cannot be read."""
    with blob_path(blobs, get.digest).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(get.offset)
        return cut(get.digest, get.offset, file.read(max(0, min(get.length, PIECE_BYTES_MAX))), size)


def drop_old_partials(blobs: Path, now: float) -> None:
    """Drop what came of files whose workers have not been back for long; `now` in seconds since the epoch."""
    for partial in blobs.glob(f"??/*{PARTIAL}"):
        if now - partial.stat().st_mtime > PARTIAL_KEPT:
            partial.unlink(missing_ok=True)


class IncomingBlob:
    """One file of `size` bytes on its way in: nothing stands under its name before every byte is there, right and durable.

    What came before a connection broke is kept, and the rest is asked for in the next. Each ticket has a file of its
    own, so that two workers may send the same digest at once and neither spoils the other's.
    """

    def __init__(self, blobs: Path, digest: Digest, size: int, ticket: TicketId) -> None:
        self._path = blob_path(blobs, digest)
        self._digest = digest
        self.size = size
        self._hash = hashlib.sha256()
        self._asked_to = 0
        self.length = 0
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._partial = self._path.with_name(f"{digest}.{ticket}{PARTIAL}")
        self._file = os.fdopen(os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        while held := self._file.read(PIECE_BYTES_MAX):
            self._hash.update(held)
            self.length += len(held)
        self.is_continued = self.length > 0
        """What was held may have suffered from a power cut: if the digest is wrong, it is worth another try."""

    def next_piece(self, ticket: TicketId) -> Get:
        """Return what to ask the worker for now."""
        self._asked_to = self.length + PIECE_BYTES_MAX
        return Get(self._digest, self.length, PIECE_BYTES_MAX, ticket)

    @property
    def wants_more(self) -> bool:
        """Has everything come that was asked for?"""
        return self.length >= self._asked_to

    def add(self, frame: FileBytes) -> bool:
        """Take the next piece and say whether the file is complete; raise `WrongBlobError`, `OSError`."""
        if frame.offset != self.length:
            return False
        self.length += len(frame.data)
        if self.length > self.size:
            raise WrongBlobError(self._digest)
        self._file.write(frame.data)
        self._hash.update(frame.data)
        if frame.last:
            self._publish()
        return frame.last

    def close(self) -> None:
        """Let go of the file; what came so far is kept for the next connection."""
        self._file.close()

    def drop(self) -> None:
        """Drop what came so far: it is of no use."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _publish(self) -> None:
        if self.length != self.size or self._hash.hexdigest() != self._digest:
            raise WrongBlobError(self._digest)
        self._file.flush()
        os.utime(self._file.fileno())  # its last byte may have come long ago, and retention looks at the time
        os.fsync(self._file.fileno())
        self._partial.rename(self._path)
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
