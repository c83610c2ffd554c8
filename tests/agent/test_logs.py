"""The log store: bytes by offset, durable in groups, never doubled, never beside its directory."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from reconciler.execute.blobs import NoDigestError, blob_path
from reconciler.execute.logs import LogGapError, LogNameError, LogStore
from reconciler.protocol.journal import Kind, Level, Record, encoded
from reconciler.protocol.tickets import Digest, TicketId

TICKET = TicketId("t1")
RECORDS = [Record(Kind.STDOUT, Level.INFO, number, f"line {number}\n".encode()) for number in range(5)]
BYTES = b"".join(map(encoded, RECORDS))


async def test_bytes_that_come_twice_are_kept_once_and_a_gap_is_refused(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    assert logs.append(TICKET, 0, b"abc") == 3
    assert logs.append(TICKET, 1, b"bcdef") == 6
    with pytest.raises(LogGapError, match="bytes at 9 came, 6 are held"):
        logs.append(TICKET, 9, b"x")
    assert logs.path(TICKET).read_bytes() == b"abcdef"
    assert logs.digest(TICKET) == hashlib.sha256(b"abcdef").hexdigest()


async def test_one_commit_serves_all_who_wait(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    tickets = [TicketId(f"t{number}") for number in range(20)]
    for ticket in tickets:
        logs.append(ticket, 0, b"abc")
    assert await asyncio.gather(*map(logs.durable, tickets)) == [3] * 20


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
    assert logs.digest(TICKET) == hashlib.sha256(b"abc").hexdigest()


async def test_records_are_read_from_any_of_their_offsets(tmp_path: Path) -> None:
    logs = LogStore(tmp_path)
    logs.append(TICKET, 0, BYTES + b"\0\0")
    read = list(logs.records(TICKET))
    assert [record for _, record in read] == RECORDS
    assert [record for _, record in logs.records(TICKET, read[2][0])] == RECORDS[3:]


async def test_a_follower_sees_what_comes_and_ends_with_the_log(tmp_path: Path) -> None:
    logs, ended, seen = LogStore(tmp_path), [False], []
    logs.append(TICKET, 0, BYTES[:40])

    async def follow() -> None:
        async for _, record in logs.follow(TICKET, 0, lambda: ended[0]):
            seen.append(record)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    logs.append(TICKET, 40, BYTES[40:])
    ended[0] = True
    await logs.durable(TICKET)
    await following
    assert seen == RECORDS


@pytest.mark.parametrize("name", ["../t1", "a/b", "", ".hidden", "x" * 101])
def test_a_hostile_name_reaches_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogNameError):
        LogStore(tmp_path / "logs").append(TicketId(name), 0, b"x")
    with pytest.raises(NoDigestError):
        blob_path(tmp_path, Digest(name))
