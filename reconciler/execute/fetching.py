"""The files that one worker sends: asked for piece by piece, stored when every byte is there, given up when none comes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.blobs import IncomingBlob, NoDigestError, WrongBlobError, blob_path
from reconciler.execute.breaches import ARTIFACT_TOO_LARGE
from reconciler.execute.wording import NAME_MAX, is_name, sentence
from reconciler.protocol.frames import FileBytes
from reconciler.protocol.messages import Message
from reconciler.protocol.tickets import Artifact, Digest, TicketId
from reconciler.store.blobs import is_kept

FETCH_PATIENCE = 300.0  # seconds without a byte of a file; logs that share the connection may take their time
ARTIFACT_BYTES_MAX = 16 << 30  # all files of one attempt together: the disk is shared with those of all others


class FetchError(Exception):
    """A file that a worker announced did not come."""


class TooLargeError(FetchError):
    """A file that a worker announced is not taken."""

    def __init__(self, size: int, room: int) -> None:
        super().__init__(
            f"it has {size} bytes, and of the {ARTIFACT_BYTES_MAX} that all artifacts of an attempt may have {room} "
            "are left"
        )


@dataclass(slots=True)
class _Incoming:
    """One file on its way; `moved` when its last byte came, on the loop's clock."""

    blob: IncomingBlob
    ticket: TicketId
    done: asyncio.Future[None]
    moved: float


class Fetching:
    """All files on their way in one conversation; `say` sends what asks for them."""

    def __init__(
        self,
        blobs: Path,
        say: Callable[[Message], None],
        breach: Callable[[str, str], None],
        patience: float = FETCH_PATIENCE,
    ) -> None:
        self._blobs = blobs
        self._say = say
        self._breach = breach
        self._patience = patience
        self._incoming: dict[Digest, _Incoming] = {}
        self._opening = asyncio.Lock()

    async def store(self, artifacts: Sequence[Artifact], ticket: TicketId) -> tuple[list[Artifact], list[str]]:
        """Fetch what a worker announced; return what is stored now, and why the rest is not."""
        stored: list[Artifact] = []
        notes: list[str] = []
        room = ARTIFACT_BYTES_MAX
        for artifact in artifacts:
            try:
                await self._fetch(artifact, ticket, room)
                stored.append(artifact)
                room -= artifact.size
            except (FetchError, WrongBlobError, NoDigestError, OSError) as error:
                notes.append(sentence(f"artifact {artifact.name[:NAME_MAX]} could not be stored: {error}"))
        return stored, notes

    def take(self, frame: FileBytes) -> None:
        """Take a piece of a file; one that nobody asked for is dropped."""
        found = self._incoming.get(frame.digest)
        if found is None:
            return
        before = found.blob.length
        try:
            complete = found.blob.add(frame)
        except (WrongBlobError, OSError) as error:
            if found.blob.is_continued:
                self._begin_again(found, frame.digest)
            else:
                self.fail(frame.digest, str(error))
            return
        if found.blob.length > before:
            found.moved = asyncio.get_running_loop().time()
        if complete:
            del self._incoming[frame.digest]
            found.blob.close()
            found.done.set_result(None)
        elif found.blob.wants_more and frame.data:
            self._say(found.blob.next_piece(found.ticket))

    def fail(self, digest: Digest, text: str) -> None:
        """Give a file up, and drop what came of it."""
        found = self._incoming.pop(digest, None)
        if found is not None:
            found.blob.drop()
            found.done.set_exception(FetchError(text))

    def close(self) -> None:
        """Let go of everything; what came so far is kept for the next conversation."""
        for found in self._incoming.values():
            found.blob.close()

    async def _fetch(self, artifact: Artifact, ticket: TicketId, room: int) -> None:
        if not is_name(artifact.name):
            raise FetchError("its name is no relative path of letters that can be seen")
        if artifact.size > room:
            error = TooLargeError(artifact.size, room)
            self._breach(ARTIFACT_TOO_LARGE, f"artifact {artifact.name} of {ticket}: {error}")
            raise error
        digest = artifact.digest
        path = blob_path(self._blobs, digest)
        if not is_kept(path):
            async with self._opening:  # what is held of it already may take long to read
                if digest not in self._incoming:
                    blob = await asyncio.to_thread(IncomingBlob, self._blobs, digest, artifact.size, ticket)
                    loop = asyncio.get_running_loop()
                    self._incoming[digest] = _Incoming(blob, ticket, loop.create_future(), loop.time())
                    self._say(blob.next_piece(ticket))
                found = self._incoming[digest]
            await self._arrived(found, digest)
        if path.stat().st_size != artifact.size:
            raise WrongBlobError(digest)

    async def _arrived(self, found: _Incoming, digest: Digest) -> None:
        """Wait for a file as long as it grows."""
        loop = asyncio.get_running_loop()
        while not found.done.done():
            left = found.moved + self._patience - loop.time()
            if left <= 0:
                self.fail(digest, f"the worker sent nothing of it for {self._patience:g} s")
            else:
                await asyncio.wait([found.done], timeout=left)
        found.done.result()

    def _begin_again(self, found: _Incoming, digest: Digest) -> None:
        """Fetch a file from its first byte: what was kept of it from another connection is not what it should be."""
        found.blob.drop()
        found.blob = IncomingBlob(self._blobs, digest, found.blob.size, found.ticket)
        self._say(found.blob.next_piece(found.ticket))
