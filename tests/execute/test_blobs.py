"""Files on their way to the server: continued after a cut, begun again where the part that was kept is spoilt."""

import hashlib
from pathlib import Path

import pytest

from reconciler.execute.blobs import PARTIAL_KEPT, IncomingBlob, WrongBlobError, blob_path, drop_old_partials
from reconciler.protocol.frames import FileBytes
from reconciler.protocol.messages import PIECE_BYTES_MAX, Get
from reconciler.protocol.tickets import Digest, TicketId

TICKET = TicketId("t1")
DATA = bytes(range(256)) * 8192  # two pieces
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())


def incoming(blobs: Path) -> IncomingBlob:
    return IncomingBlob(blobs, DIGEST, len(DATA), TICKET)


def frame(offset: int, length: int) -> FileBytes:
    return FileBytes(DIGEST, offset, DATA[offset : offset + length], last=offset + length >= len(DATA))


def test_after_a_cut_the_rest_is_asked_for(tmp_path: Path) -> None:
    first = incoming(tmp_path)
    assert first.next_piece(TICKET) == Get(DIGEST, 0, PIECE_BYTES_MAX, TICKET)
    assert not first.add(frame(0, 1000))
    assert not first.wants_more
    first.close()
    second = incoming(tmp_path)
    assert second.is_continued
    assert second.next_piece(TICKET) == Get(DIGEST, 1000, PIECE_BYTES_MAX, TICKET)
    assert not second.add(frame(1000, PIECE_BYTES_MAX))
    assert second.wants_more
    assert second.add(frame(1000 + PIECE_BYTES_MAX, len(DATA)))
    assert blob_path(tmp_path, DIGEST).read_bytes() == DATA


def test_a_file_that_was_whole_before_the_cut_takes_its_end_alone(tmp_path: Path) -> None:
    first = incoming(tmp_path)
    first.next_piece(TICKET)
    first.add(FileBytes(DIGEST, 0, DATA, last=False))
    first.close()
    second = incoming(tmp_path)
    assert second.next_piece(TICKET).offset == len(DATA)
    assert second.add(FileBytes(DIGEST, len(DATA), b"", last=True))


def test_a_part_that_was_spoilt_is_noticed_and_the_file_begun_again(tmp_path: Path) -> None:
    first = incoming(tmp_path)
    first.add(frame(0, 1000))
    first.close()
    [partial] = tmp_path.glob("??/*.partial")
    partial.write_bytes(bytes(1000))
    second = incoming(tmp_path)
    with pytest.raises(WrongBlobError):
        second.add(frame(1000, len(DATA)))
    assert second.is_continued
    second.drop()
    third = incoming(tmp_path)
    assert not third.is_continued
    assert third.add(frame(0, len(DATA)))


def test_what_nobody_continues_for_a_week_is_dropped(tmp_path: Path) -> None:
    begun = incoming(tmp_path)
    begun.add(frame(0, 1000))
    begun.close()
    [partial] = tmp_path.glob("??/*.partial")
    since = partial.stat().st_mtime
    drop_old_partials(tmp_path, since + PARTIAL_KEPT)
    assert partial.exists()
    drop_old_partials(tmp_path, since + PARTIAL_KEPT + 1)
    assert not partial.exists()
