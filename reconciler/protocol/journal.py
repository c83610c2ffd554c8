"""The journal: a ticket's output as records, whose byte offset is the cursor everywhere.

A record is `u32 length, u8 kind, u8 level, u16 zero, u64 milliseconds since the epoch` and `length` bytes. Output
records hold masked bytes as they came, cut anywhere: a line may span records. A record never changes once written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Optional

from reconciler.protocol.tickets import OutputLimit

HEADER = Struct(">IBBHQ")
RECORD_BYTES_MAX = 1 << 20  # one read of a pipe, after masking
JOURNAL_BYTES_MAX = 16 << 30  # of any ticket: a day of output at 190 KB/s
UNLIMITED_BYTES_MAX = 16 << 20  # of what no output limit counts: progress, sentences of ours, the gap


class Kind(IntEnum):
    """What a record holds."""

    STDOUT = 1
    STDERR = 2
    SYSTEM = 3  # a sentence of ours
    PROGRESS = 4  # "PERCENT MESSAGE"
    GAP = 5  # the decimal number of bytes that the output limit dropped here or later


class Level(IntEnum):
    """How a line is to be shown; `log_level` sets it for the lines that follow."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    HIGHLIGHT = 5


class BrokenJournalError(Exception):
    """A journal holds bytes that are no record."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the journal is broken at byte {offset}; read it from an earlier record")


@dataclass(frozen=True)
class Record:
    """One piece of output: `milliseconds` since the epoch by the worker's clock."""

    kind: Kind
    level: Level
    milliseconds: int
    data: bytes


def journal_bytes_max(limit: Optional[OutputLimit]) -> int:
    """Return the most bytes that the journal of a ticket may have; no agent writes and no server takes more.

    A script may print byte by byte, and each is a record then.
    """
    if limit is None:
        return JOURNAL_BYTES_MAX
    return min(JOURNAL_BYTES_MAX, limit.bytes_max * (HEADER.size + 1) + UNLIMITED_BYTES_MAX)


def encoded(record: Record) -> bytes:
    """Return the bytes of `record`, which has at most `RECORD_BYTES_MAX` of data."""
    assert len(record.data) <= RECORD_BYTES_MAX, len(record.data)
    return HEADER.pack(len(record.data), record.kind, record.level, 0, record.milliseconds) + record.data


def decoded(data: bytes, offset: int = 0) -> tuple[list[Record], int]:
    """Return the whole records at the start of `data`, and how many bytes they take.

    `offset` is where `data` stands in its journal, for the error. Raises `BrokenJournalError`.
    """
    records: list[Record] = []
    start = 0
    while len(data) - start >= HEADER.size:
        length, kind, level, _, milliseconds = HEADER.unpack_from(data, start)
        end = start + HEADER.size + length
        if length > RECORD_BYTES_MAX:
            raise BrokenJournalError(offset + start)
        if len(data) < end:
            break
        try:
            records.append(Record(Kind(kind), Level(level), milliseconds, data[start + HEADER.size : end]))
        except ValueError:
            raise BrokenJournalError(offset + start) from None
        start = end
    return records, start
