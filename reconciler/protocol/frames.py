"""Frames: how control objects, logs and files share one byte stream.

A frame is `u32 length, u8 type, u8 flags, u16 subject length`, then the subject and the payload; `length` counts what
follows the eight bytes. A control frame has no subject and one JSON object. A log or file frame names its ticket or
digest as the subject; its payload is a `u64` offset and raw bytes. Each frame explains itself, so that no table of
open streams has to survive a reconnect.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Union

from reconciler.protocol.tickets import Digest, TicketId

HEADER = Struct(">IBBH")
OFFSET = Struct(">Q")
CONTROL_BYTES_MAX = 1 << 20  # an offer with a 64 KiB script and a few environment values of 127 KiB each
DATA_BYTES_MAX = 64 << 10  # keeps control from waiting long behind data
SUBJECT_BYTES_MAX = 128  # a ticket or a digest

CONTROL = 1
LOG = 2
FILE = 3
LAST = 1  # flag: the file ends with this frame


class FrameError(Exception):
    """The other end sent bytes that are no frame; the connection cannot go on."""


class FrameTooLongError(FrameError):
    """A frame would be longer than the other end accepts."""

    def __init__(self, what: str, length: int, longest: int) -> None:
        super().__init__(f"{what} has {length} bytes, {longest} are allowed")


class UnknownFrameError(FrameError):
    """A frame has a type that this version does not know, or a subject that makes no sense for it."""

    def __init__(self, kind: int) -> None:
        super().__init__(f"a frame of type {kind} cannot be read; the other end speaks another protocol")


@dataclass(frozen=True)
class Control:
    """One JSON object."""

    payload: bytes


@dataclass(frozen=True)
class LogBytes:
    """A piece of a ticket's journal at `offset`."""

    ticket: TicketId
    offset: int
    data: bytes


@dataclass(frozen=True)
class FileBytes:
    """A piece of the file `digest` at `offset`; the file ends with it if `last`."""

    digest: Digest
    offset: int
    data: bytes
    last: bool


Frame = Union[Control, LogBytes, FileBytes]


def encoded(frame: Frame) -> bytes:
    """Return the bytes of `frame`; raise `FrameTooLongError` rather than send what would be refused."""
    if isinstance(frame, Control):
        _bounded("a control object", len(frame.payload), CONTROL_BYTES_MAX)
        return HEADER.pack(len(frame.payload), CONTROL, 0, 0) + frame.payload
    _bounded("a piece of data", len(frame.data), DATA_BYTES_MAX)
    if isinstance(frame, LogBytes):
        return _data(LOG, 0, frame.ticket, frame.offset, frame.data)
    return _data(FILE, LAST if frame.last else 0, frame.digest, frame.offset, frame.data)


def cut(digest: Digest, offset: int, data: bytes, size: int) -> list[FileBytes]:
    """Return `data`, read at `offset` of a file of `size` bytes, as frames; one at least, so that its end is told."""
    return [
        FileBytes(digest, offset + start, piece, last=offset + start + len(piece) >= size)
        for start in range(0, max(1, len(data)), DATA_BYTES_MAX)
        for piece in (data[start : start + DATA_BYTES_MAX],)
    ]


class Decoder:
    """Turns received bytes, in whatever chunks, into frames; holds at most one unfinished frame.

    `control_bytes_max` may be lower for a peer that is not known yet.
    """

    def __init__(self, control_bytes_max: int = CONTROL_BYTES_MAX) -> None:
        self.control_bytes_max = control_bytes_max
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes; raise `FrameError` at the first that is none."""
        self._held += data
        frames: list[Frame] = []
        start = 0
        while len(self._held) - start >= HEADER.size:
            length, kind, flags, subject_length = HEADER.unpack_from(self._held, start)
            _check(kind, length, subject_length, self.control_bytes_max)
            end = start + HEADER.size + length
            if len(self._held) < end:
                break
            with memoryview(self._held) as held:  # each byte is copied once
                frames.append(_frame(kind, flags, subject_length, held[start + HEADER.size : end]))
            start = end
        del self._held[:start]
        return frames


def _frame(kind: int, flags: int, subject_length: int, body: memoryview) -> Frame:
    if kind == CONTROL:
        return Control(bytes(body))
    subject = bytes(body[:subject_length]).decode("ascii", "replace")
    (offset,) = OFFSET.unpack_from(body, subject_length)
    data = bytes(body[subject_length + OFFSET.size :])
    if kind == LOG:
        return LogBytes(TicketId(subject), offset, data)
    return FileBytes(Digest(subject), offset, data, bool(flags & LAST))


def _check(kind: int, length: int, subject_length: int, control_bytes_max: int) -> None:
    if kind == CONTROL and subject_length == 0:
        _bounded("a control frame", length, control_bytes_max)
    elif kind in (LOG, FILE) and 0 < subject_length <= SUBJECT_BYTES_MAX and length >= subject_length + OFFSET.size:
        _bounded("a data frame", length, DATA_BYTES_MAX + SUBJECT_BYTES_MAX + OFFSET.size)
    else:
        raise UnknownFrameError(kind)


def _data(kind: int, flags: int, subject: str, offset: int, data: bytes) -> bytes:
    name = subject.encode("ascii")
    _bounded("a subject", len(name), SUBJECT_BYTES_MAX)
    length = len(name) + OFFSET.size + len(data)
    return b"".join((HEADER.pack(length, kind, flags, len(name)), name, OFFSET.pack(offset), data))


def _bounded(what: str, length: int, longest: int) -> None:
    if length > longest:
        raise FrameTooLongError(what, length, longest)
