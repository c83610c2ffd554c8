"""Blobs on the server: files named by their SHA-256, sent to workers and received from them."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from reconciler.protocol.frames import FileBytes, cut
from reconciler.protocol.messages import PIECE_BYTES_MAX, Get
from reconciler.protocol.tickets import Digest

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


class IncomingBlob:
    """One file of `size` bytes on its way in: nothing stands under its name before every byte is there, right and durable.

    Two workers may send the same file at once, each into a file of its own.
    """

    def __init__(self, blobs: Path, digest: Digest, size: int) -> None:
        self._path = blob_path(blobs, digest)
        self._digest = digest
        self._size = size
        self._hash = hashlib.sha256()
        self.length = 0
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(".partial", digest, self._path.parent)
        self._partial, self._file = Path(partial), os.fdopen(descriptor, "wb")

    def add(self, frame: FileBytes) -> bool:
        """Take the next piece and say whether the file is complete; raise `WrongBlobError`, `OSError`."""
        if frame.offset != self.length:
            return False
        self.length += len(frame.data)
        if self.length > self._size:
            raise WrongBlobError(self._digest)
        self._file.write(frame.data)
        self._hash.update(frame.data)
        if frame.last:
            self._publish()
        return frame.last

    def close(self) -> None:
        """Drop what came so far, unless it is complete."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _publish(self) -> None:
        if self.length != self._size or self._hash.hexdigest() != self._digest:
            raise WrongBlobError(self._digest)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.rename(self._path)
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
