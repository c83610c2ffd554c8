"""The log store: bytes by offset, durable in groups, never doubled, never beside its directory."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Awaitable
from pathlib import Path

import pytest

from reconciler.execute.blobs import NoDigestError, blob_path
from reconciler.execute.logs import PIECE_BYTES, LogGapError, LogNameError, LogStore, LogTooLongError
from reconciler.protocol.journal import Kind, Level, Record, encoded
from reconciler.protocol.tickets import Digest, TicketId

TICKET = TicketId("t1")
RECORDS = [Record(Kind.STDOUT, Level.INFO, number, f"line {number}\n".encode()) for number in range(5)]
BYTES = b"".join(map(encoded, RECORDS))
LARGE = 64 << 20


class SlowDisk:
    """Syncs of data that end when the test lets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun, self._ended = threading.Semaphore(0), threading.Semaphore(0)
        sync = os.fdatasync

        def fdatasync(descriptor: int) -> None:
            self._begun.release()
            assert self._ended.acquire(timeout=15)
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", fdatasync)

    async def begins_a_commit(self) -> None:
        """Wait until a sync is under way."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=15)

    def ends_it(self) -> None:
        self._ended.release()


async def turns_during(work: Awaitable[object]) -> int:
    """Return how often others had their turn on the loop until `work` was done."""
    turns, task = 0, asyncio.ensure_future(work)
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


async def test_bytes_that_come_twice_are_kept_once_and_a_gap_is_refused(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    assert logs.append(TICKET, 0, b"abc") == 3
    assert logs.append(TICKET, 1, b"bcdef") == 6
    with pytest.raises(LogGapError, match="bytes at 9 came, 6 are held"):
        logs.append(TICKET, 9, b"x")
    assert logs.path(TICKET).read_bytes() == b"abcdef"
    assert await logs.digest(TICKET) == hashlib.sha256(b"abcdef").hexdigest()


async def test_one_commit_serves_all_who_wait(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    tickets = [TicketId(f"t{number}") for number in range(20)]
    for ticket in tickets:
        logs.append(ticket, 0, b"abc")
    assert await asyncio.gather(*map(logs.durable, tickets)) == [3] * 20


async def test_what_comes_during_a_commit_is_durable_after_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = LogStore(tmp_path)
    disk = SlowDisk(monkeypatch)
    logs.append(TICKET, 0, b"abc")
    first = asyncio.create_task(logs.durable(TICKET))
    await disk.begins_a_commit()
    logs.append(TICKET, 3, b"def")
    second, earlier = asyncio.create_task(logs.durable(TICKET)), asyncio.create_task(logs.durable(TICKET, 3))
    await asyncio.sleep(0)
    disk.ends_it()
    assert (await first, await earlier) == (3, 3)
    assert not second.done(), "the commit had begun before these bytes came"
    await disk.begins_a_commit()
    disk.ends_it()
    assert await second == 6


async def test_closing_a_log_wakes_who_waits_for_it(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    logs.append(TICKET, 0, b"abc")
    waiting = asyncio.create_task(logs.durable(TICKET))
    await asyncio.sleep(0)
    logs.close(TICKET)
    async with asyncio.timeout(5):
        await waiting


async def test_a_log_is_taken_up_again_by_the_next_server(tmp_path: Path) -> None:
    LogStore(tmp_path).append(TICKET, 0, b"abc")
    logs = LogStore(tmp_path)
    assert logs.received(TICKET) == await logs.durable(TICKET) == 3
    assert await logs.digest(TICKET) == hashlib.sha256(b"abc").hexdigest()


async def test_a_large_log_of_the_server_before_us_does_not_hold_the_loop(tmp_path: Path) -> None:
    record = encoded(Record(Kind.STDOUT, Level.INFO, 0, bytes(1 << 20)))
    logs = LogStore(tmp_path)
    logs.path(TICKET).write_bytes(record * (LARGE >> 20))
    assert await turns_during(logs.digest(TICKET)) > 100
    assert await turns_during(logs.whole(TICKET)) > 100
    assert await turns_during(logs.durable(TICKET)) > 1
    assert await logs.digest(TICKET) == hashlib.sha256(record * (LARGE >> 20)).hexdigest()
    assert await logs.whole(TICKET) == len(record) * (LARGE >> 20)


async def test_nothing_of_a_log_is_read_to_say_how_long_it_is(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    logs.path(TICKET).touch()
    os.truncate(logs.path(TICKET), 1 << 40)  # to read that would take the time of several tests
    assert logs.received(TICKET) == 1 << 40
    assert logs.append(TICKET, (1 << 40) - 1, b"xy", bytes_max=1 << 41) == (1 << 40) + 1
    assert await logs.durable(TICKET) == (1 << 40) + 1


async def test_a_log_that_grows_while_it_is_read_has_the_digest_of_all_of_it(tmp_path: Path) -> None:
    whole = os.urandom(1 << 20) * (LARGE >> 20)
    logs, half = LogStore(tmp_path), LARGE // 2
    logs.path(TICKET).write_bytes(whole[:half])
    first, second = (asyncio.create_task(logs.digest(TICKET)) for _ in range(2))
    for offset in range(half, LARGE, 1 << 20):
        logs.append(TICKET, offset, whole[offset : offset + (1 << 20)])
        await asyncio.sleep(0)
    assert await first == await second == hashlib.sha256(whole).hexdigest()


async def test_a_log_that_is_dropped_while_it_is_read_has_the_digest_of_what_came_after(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    logs.path(TICKET).write_bytes(bytes(LARGE))
    reading = asyncio.create_task(logs.digest(TICKET))
    await asyncio.sleep(0)
    logs.rewind(TICKET)
    logs.append(TICKET, 0, b"abc")
    assert await reading == hashlib.sha256(b"abc").hexdigest()


async def test_what_cannot_be_made_durable_is_dropped_and_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = LogStore(tmp_path)
    logs.append(TICKET, 0, b"abc")
    assert await logs.durable(TICKET) == 3
    logs.append(TICKET, 3, b"def")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _full)
        with pytest.raises(OSError, match="No space left on device"):
            await logs.durable(TICKET)
    assert logs.received(TICKET) == await logs.durable(TICKET) == 3
    logs.append(TICKET, 3, b"def")
    assert await logs.durable(TICKET) == 6
    assert await logs.digest(TICKET) == hashlib.sha256(b"abcdef").hexdigest()


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_more_is_taken_than_a_log_may_have(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    assert logs.append(TICKET, 0, b"abcd", bytes_max=4) == 4
    assert logs.append(TICKET, 0, b"abcd", bytes_max=4) == 4
    with pytest.raises(LogTooLongError) as refused:
        logs.append(TICKET, 2, b"cde", bytes_max=4)
    assert str(refused.value) == (
        "log of t1: more bytes came than the 4 that it may have; the worker's agent is broken or hostile"
    )
    assert logs.path(TICKET).read_bytes() == b"abcd"


async def test_records_are_read_from_any_of_their_offsets(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    logs.append(TICKET, 0, BYTES + b"\0\0")
    read = list(logs.records(TICKET))
    assert [record for _, record in read] == RECORDS
    assert [record for _, record in logs.records(TICKET, read[2][0])] == RECORDS[3:]


async def test_a_follower_is_woken_by_what_comes_and_reads_it_in_pieces(tmp_path: Path) -> None:
    logs, seen, offset = LogStore(tmp_path), [], 0
    logs.append(TICKET, 0, BYTES[:40])

    async def follow() -> None:
        nonlocal offset
        while len(seen) < len(RECORDS):
            offset, records = logs.piece(TICKET, offset)
            seen.extend(records)
            if len(seen) < len(RECORDS):
                await logs.growth(60.0)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    logs.append(TICKET, 40, BYTES[40:])
    await logs.durable(TICKET)
    logs.close(TICKET)
    await following
    assert seen == RECORDS
    assert logs.piece(TICKET, offset) == (offset, [])
    assert logs.piece(TicketId("nothing"), 0) == (0, [])


def test_a_piece_is_bounded_but_for_a_record_that_is_longer(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    short, long = Record(Kind.STDOUT, Level.INFO, 1, b"x" * 1_000), Record(Kind.STDOUT, Level.INFO, 1, b"y" * 1_000_000)
    whole = encoded(short) * 200 + encoded(long)
    logs.append(TICKET, 0, whole)
    offset, sizes, found = 0, [], []
    while offset < len(whole):
        before = offset
        offset, records = logs.piece(TICKET, offset)
        sizes.append(offset - before)
        found += records
    assert found == [short] * 200 + [long]
    assert max(sizes[:-1]) <= PIECE_BYTES


@pytest.mark.parametrize("name", ["../t1", "a/b", "", ".hidden", "x" * 101])
def test_a_hostile_name_reaches_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogNameError):
        LogStore(tmp_path / "logs").append(TicketId(name), 0, b"x")
    with pytest.raises(NoDigestError):
        blob_path(tmp_path, Digest(name))
