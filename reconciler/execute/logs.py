"""Logs of attempts on the server: journals received by offset, durable in groups, read while they grow."""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.protocol import journal
from reconciler.protocol.journal import BrokenJournalError, Record
from reconciler.protocol.tickets import Digest, TicketId

READ_BYTES = 1 << 20  # of a journal at once; a record is no longer than `journal.RECORD_BYTES_MAX` and its header
PIECE_BYTES = 1 << 16  # of a journal for one who follows it from afar
HASH_BYTES = 16 << 20  # of a journal in one go of a thread: 10 to 50 ms
SYNCS_AT_ONCE = 4  # the file system makes one commit of those that meet; alone, each waits for its own
TICKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class LogNameError(Exception):
    """Log bytes came for a ticket whose name no server chose."""

    def __init__(self, ticket: str) -> None:
        super().__init__(f"{ticket[:80]!r} names no ticket; the worker's agent is broken or hostile")


class LogGapError(Exception):
    """Log bytes came that do not join those before."""

    def __init__(self, ticket: TicketId, offset: int, length: int) -> None:
        super().__init__(f"log of {ticket}: bytes at {offset} came, {length} are held; rewind to {length}")
        self.length = length


class LogTooLongError(Exception):
    """Log bytes came beyond what the ticket's log may have."""

    def __init__(self, ticket: TicketId, bytes_max: int) -> None:
        super().__init__(
            f"log of {ticket}: more bytes came than the {bytes_max} that it may have; "
            "the worker's agent is broken or hostile"
        )


@dataclass(slots=True)
class _OpenLog:
    """One log that is being received."""

    path: Path
    descriptor: int | None  # None until the first byte: most logs of small steps stay empty
    length: int
    found: int = 0  # bytes that an engine before us received, and may have acknowledged
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    hashed: int = 0  # as many bytes as `digest` has seen
    durable: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class LogStore:
    """The journals under `directory`, one file per ticket; logs that grow keep a descriptor open until `close`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[TicketId, _OpenLog] = {}
        self._dirty: set[TicketId] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, ticket: TicketId) -> Path:
        """Return the file that holds the journal of `ticket`; raise `LogNameError`, since agents choose the text."""
        if not TICKET_NAME.fullmatch(ticket):
            raise LogNameError(ticket)
        return self._directory / f"{ticket}.journal"

    def received(self, ticket: TicketId) -> int:
        """Return how many bytes are held, durable or not."""
        return self._log(ticket).length

    async def whole(self, ticket: TicketId) -> int:
        """Return how many of the bytes held are whole records: a journal comes in pieces that end anywhere."""
        return await asyncio.to_thread(self._whole, ticket)

    def append(self, ticket: TicketId, offset: int, data: bytes, *, bytes_max: int = journal.JOURNAL_BYTES_MAX) -> int:
        """Add what is new of `data` at `offset` and return the length held.

        Raises `LogGapError` if bytes are missing, `LogTooLongError` if they would be more than `bytes_max`.
        """
        log = self._log(ticket)
        if offset > log.length:
            raise LogGapError(ticket, offset, log.length)
        new = data[log.length - offset :]
        if log.length + len(new) > bytes_max:
            raise LogTooLongError(ticket, bytes_max)
        if new:
            _write_all(_descriptor(log), new, log.length)
            if log.hashed == log.length:
                log.digest.update(new)
                log.hashed += len(new)
            log.length += len(new)
            self._dirty.add(ticket)
        return log.length

    async def durable(self, ticket: TicketId, length: int | None = None) -> int:
        """Wait until what is held now, or its first `length` bytes, survives a power cut; return how much does.

        One commit serves all who wait.

        Raises `OSError` where it cannot be made so; what was not durable is dropped then, and has to come again.
        """
        log = self._log(ticket)
        wanted = log.length if length is None else min(length, log.length)
        while log.durable < wanted and self._open.get(ticket) is log:  # a commit under way may have begun before
            waiter = asyncio.get_running_loop().create_future()
            log.waiting.append(waiter)
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.create_task(self._flush(), name="flush of logs")
            await waiter
        return log.durable

    async def digest(self, ticket: TicketId) -> Digest:
        """Return the SHA-256 of everything held; what an engine before us received is read in a thread, piece by piece."""
        while (log := self._log(ticket)).hashed < log.length:
            digest, start = log.digest.copy(), log.hashed
            end = min(log.length, start + HASH_BYTES)
            await asyncio.to_thread(_hash, log.path, digest, start, end)
            if log.hashed == start:  # nobody else was quicker
                log.digest, log.hashed = digest, end
        return Digest(log.digest.hexdigest())

    def rewind(self, ticket: TicketId) -> None:
        """Drop everything held: its digest was not the worker's."""
        self.close(ticket)
        self.path(ticket).unlink(missing_ok=True)

    def close(self, ticket: TicketId) -> None:
        """Let go of a log that no longer grows; it can still be read."""
        log = self._open.pop(ticket, None)
        self._dirty.discard(ticket)
        if log is not None:
            if log.descriptor is not None:
                os.close(log.descriptor)
            _wake(log)
        self._wake_followers()

    def records(self, ticket: TicketId, offset: int = 0) -> Iterator[tuple[int, Record]]:
        """Read the whole records from `offset` on, each with the offset of the next; none if there is no log yet."""
        try:
            descriptor = os.open(self.path(ticket), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with open(descriptor, "rb", buffering=0) as file:
            while data := os.pread(file.fileno(), 2 * READ_BYTES, offset):
                records, _ = journal.decoded(data, offset)
                if not records:
                    return
                for record in records:
                    offset += journal.HEADER.size + len(record.data)
                    yield offset, record

    def piece(self, ticket: TicketId, offset: int) -> tuple[int, list[Record]]:
        """Read some whole records from `offset` on, some `PIECE_BYTES` of them; return them and the offset of the next.

        Raises `BrokenJournalError`.
        """
        try:
            descriptor = os.open(self.path(ticket), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return offset, []
        try:
            for size in (PIECE_BYTES, 2 * READ_BYTES):
                records, taken = journal.decoded(os.pread(descriptor, size, offset), offset)
                if records:
                    return offset + taken, records
            return offset, []
        finally:
            os.close(descriptor)

    async def growth(self, within: float) -> None:
        """Wait until any log has grown or was let go of, so many seconds at most."""
        grown = self._grown
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await grown.wait()

    def _log(self, ticket: TicketId) -> _OpenLog:
        log = self._open.get(ticket)
        if log is None:
            log = self._open[ticket] = _opened(self.path(ticket))
            if log.length:
                self._dirty.add(ticket)  # whoever received it may have died before it was durable
        return log

    def _whole(self, ticket: TicketId) -> int:
        end = 0
        with suppress(BrokenJournalError):
            for after, _ in self.records(ticket):
                end = after
        return end

    async def _flush(self) -> None:
        while self._dirty:
            batch = {ticket: (self._open[ticket], self._open[ticket].length) for ticket in self._dirty}
            self._dirty.clear()
            logs = [log for log, _ in batch.values()]
            descriptors = [os.dup(_descriptor(log)) for log in logs]  # a log may be closed meanwhile
            directory = self._directory if any(log.durable == 0 for log in logs) else None
            try:
                await _synced(descriptors)
                if directory is not None:
                    await asyncio.to_thread(_sync_directory, directory)
            except OSError as error:
                for ticket, (log, _) in batch.items():
                    self._give_up(ticket, log, error)
                continue
            for log, length in batch.values():
                log.durable = length
                _wake(log)
            self._wake_followers()

    def _give_up(self, ticket: TicketId, log: _OpenLog, error: OSError) -> None:
        """Drop what could not be made durable: the kernel may say of it later that it is."""
        if self._open.get(ticket) is log:
            with suppress(OSError):
                os.ftruncate(_descriptor(log), max(log.durable, log.found))
            waiting, log.waiting = log.waiting, []
            self.close(ticket)
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_exception(error)

    def _wake_followers(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _opened(path: Path) -> _OpenLog:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _OpenLog(path, None, length=0)
    length = os.fstat(descriptor).st_size
    return _OpenLog(path, descriptor, length, found=length)


def _hash(path: Path, digest: "hashlib._Hash", start: int, end: int) -> None:
    """Take the bytes from `start` to `end` into `digest`; of a log that was dropped meanwhile, what is left."""
    with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (data := file.read(min(READ_BYTES, end - start))):
            digest.update(data)
            start += len(data)


def _descriptor(log: _OpenLog) -> int:
    if log.descriptor is None:
        log.descriptor = os.open(log.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return log.descriptor


def _wake(log: _OpenLog) -> None:
    waiting, log.waiting = log.waiting, []
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)


async def _synced(descriptors: list[int]) -> None:
    """Make the data of all `descriptors` durable, several at once, and close them; raise `OSError` if one failed."""
    shares = [descriptors[first::SYNCS_AT_ONCE] for first in range(min(SYNCS_AT_ONCE, len(descriptors)))]
    done = await asyncio.gather(*(asyncio.to_thread(_sync, share) for share in shares), return_exceptions=True)
    for failed in done:
        if isinstance(failed, BaseException):
            raise failed


def _sync(descriptors: list[int]) -> None:
    """Make the data of `descriptors` durable and close them all; raise the first `OSError`."""
    first: OSError | None = None
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            first = first or error
        finally:
            os.close(descriptor)
    if first is not None:
        raise first


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
