"""Bytes that are no frames, frames that are no messages, messages that make no sense."""

import asyncio
import json
import time
from statistics import median
from struct import pack

import pytest

from reconciler.protocol import messages
from reconciler.protocol.frames import CONTROL_BYTES_MAX, HEADER, Control, LogBytes, encoded
from reconciler.protocol.tickets import Ended, Running, TicketId, TicketReport
from reconciler.store import worker_status
from tests.hostile.intruder import Line, final, hello, printed
from tests.hostile.premises import Premises

pytestmark = pytest.mark.end_to_end

NOT_FRAMES = {
    "a control object of 4 GiB": HEADER.pack((1 << 32) - 1, 1, 0, 0) + b"x" * 70_000,
    "a control object of 1 MiB and a byte": HEADER.pack(CONTROL_BYTES_MAX + 1, 1, 0, 0) + b"x" * 70_000,
    "a piece of log of 1 MiB": HEADER.pack(1 << 20, 2, 0, 4) + b"x" * 70_000,
    "a type that nobody knows": HEADER.pack(1, 77, 0, 0) + b"x",
    "a subject longer than its frame": HEADER.pack(9, 2, 0, 100) + b"x" * 9,
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
DEEP = 100_000
NOT_MESSAGES = {
    "nothing": b"",
    "no object": b"[]",
    "no JSON": b"{",
    "no UTF-8": b'{"message":"PING","sent":"\xff\xfe"}',
    "deep": b'{"message":"PING","sent":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"message":"PING","x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a number of a million digits": b'{"message":"PING","sent":' + b"9" * 1_000_000 + b"}",
    "a number of 4,000 digits": b'{"message":"PING","sent":' + b"9" * 4_000 + b"}",
    "infinity": b'{"message":"PING","sent":1e999}',
    "no number": b'{"message":"PING","sent":NaN}',
    "the wrong type": b'{"message":"PING","sent":"now"}',
    "a field less": b'{"message":"PING"}',
    "a state that there is not": b'{"message":"STATE","report":{"ticket":"t","state":{"is":"Blessed"}}}',
    "a huge offset": b'{"message":"GET","digest":"x","offset":' + b"9" * 100 + b',"length":1}',
}


@pytest.mark.parametrize("name", NOT_FRAMES)
async def test_what_is_no_frame_ends_the_session(name: str, premises: Premises, line: Line) -> None:
    await line.greet()
    line.writer.write(NOT_FRAMES[name])
    assert await line.is_closed()


@pytest.mark.parametrize("name", NOT_FRAMES)
async def test_what_is_no_frame_is_no_greeting(name: str, premises: Premises, line: Line) -> None:
    before = premises.metric("rejects:malformed")
    line.writer.write(NOT_FRAMES[name])
    assert await line.is_closed()
    assert premises.metric("rejects:malformed") == before + 1


@pytest.mark.parametrize("name", NOT_MESSAGES)
async def test_what_is_no_message_ends_the_session(name: str, premises: Premises, line: Line) -> None:
    await line.greet()
    line.say(NOT_MESSAGES[name])
    assert await line.is_closed()


async def test_half_a_character_and_a_command_for_the_terminal_are_shown_as_none(
    premises: Premises, line: Line
) -> None:
    words = "\ud800\x1b[31m\x00"
    greeting = json.loads(messages.frame_of(hello())[HEADER.size :])
    greeting |= {"boot": words, "release": words, "capabilities": {words: words}}
    line.say(json.dumps(greeting).encode())
    await line.hear(messages.HelloOk)
    line.say(messages.Inventory((), last=True))
    await line.hear(messages.Config)
    shown = "\ufffd\ufffd[31m\ufffd"
    seen = premises.read(worker_status.statuses)["w2"].seen
    assert (seen.boot, seen.release, seen.capabilities) == (shown, shown, {shown: shown})


async def test_a_second_greeting_ends_the_session(premises: Premises, line: Line) -> None:
    await line.greet()
    line.say(hello())
    assert await line.is_closed()


async def test_nothing_may_come_before_the_greeting(premises: Premises, line: Line) -> None:
    line.say(LogBytes(premises.honest_ticket(), 0, printed("forged")))
    assert await line.is_closed()


PAGES = {
    "of many tickets": [
        messages.Inventory(tuple(TicketReport(TicketId(f"t{i}"), Running()) for i in range(5_001)), False)
    ],
    "of large tickets": [
        messages.Inventory((TicketReport(ticket, Ended(final(ticket, message="x" * 900_000))),), last=False)
        for ticket in map(TicketId, "abc")
    ],
}


@pytest.mark.parametrize("kind", PAGES)
async def test_an_inventory_without_end_ends_the_session(kind: str, premises: Premises, line: Line) -> None:
    line.say(hello())
    await line.hear(messages.HelloOk)
    line.say(*PAGES[kind])
    assert await line.is_closed()


@pytest.mark.parametrize("junk", [b"\xff" * 64, pack(">IBBHQ", 5, 99, 1, 0, 0) + b"12345", printed("x") + b"\0" * 40])
async def test_a_log_that_is_no_journal_hurts_nobody(junk: bytes, premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(LogBytes(spec.ticket, 0, junk))
    assert (await line.hear(messages.LogAck)).offset == len(junk)
    line.say(messages.Finished(final(spec.ticket, junk)))
    await line.hear(messages.Forget)
    assert "==> Bait on w2" in premises.reconcile("logs", "bait-test")


async def test_offsets_of_a_log_that_do_not_join_are_asked_for_again(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    log = printed("one\n")
    line.say(LogBytes(spec.ticket, 0, log), LogBytes(spec.ticket, 1 << 63, log), LogBytes(spec.ticket, 3, log[3:]))
    assert await line.hear(messages.Rewind, lambda word: word.offset > 0) == messages.Rewind(spec.ticket, len(log))
    line.say(messages.Finished(final(spec.ticket, log)))
    await line.hear(messages.Forget)
    assert premises.log(spec.ticket) == "one\n"


@pytest.mark.parametrize("changes", [{"log_length": -5}, {"log_length": 1 << 50}, {"log_digest": "0" * 64}])
async def test_an_ending_with_a_log_that_cannot_be_has_no_effect(
    changes: dict[str, object], premises: Premises, line: Line
) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(messages.Finished(final(spec.ticket, **changes)), messages.Ping(1.0))
    await line.hear(messages.Pong)
    assert spec.ticket in {attempt.ticket for attempt in premises.live()}
    line.say(messages.Finished(final(spec.ticket)))
    await line.hear(messages.Forget)


@pytest.mark.parametrize("name", ["a/../../x", "..", "-", "\x1b[2J", "x" * 101])
async def test_a_ticket_with_a_name_that_no_server_gives_is_none(name: str, premises: Premises, line: Line) -> None:
    line.say(hello())
    await line.hear(messages.HelloOk)
    line.say(messages.Inventory((TicketReport(TicketId(name), Running()),), last=True))
    line.say(messages.Ping(1.0))
    await line.hear(messages.Pong)


async def test_a_flood_of_small_requests_is_answered_within_bounds(premises: Premises, line: Line) -> None:
    """Each asks for the whole script, and nobody reads the answers."""
    await line.greet()
    spec = await line.taken()
    before = premises.memory()
    line.writer.transport.pause_reading()
    ask = messages.frame_of(messages.Get(spec.script_digest, 0, 1 << 20))
    line.writer.write(ask * 20_000)
    for _ in range(10):
        assert await asyncio.to_thread(premises.is_healthy)
    assert premises.memory() - before < 50 << 20


async def test_a_negative_length_is_no_more_than_a_piece(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(messages.Get(spec.script_digest, 0, -1), messages.Get(spec.script_digest, -7, 10))
    await line.hear(messages.Missing)


FLOODS = {
    "signs of life": messages.Ping(1.0),
    "states of a ticket that there is not": messages.State(TicketReport(TicketId("x"), Running())),
    "endings of it": messages.Finished(final(TicketId("x"), message="x" * 1000)),
    "memory": b'{"message":"PING","sent":1,"x":[' + b"[]," * 300_000 + b"0]}",
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_leaves_time_for_others(name: str, premises: Premises, line: Line) -> None:
    await line.greet()
    word = FLOODS[name]
    frame = encoded(Control(word)) if isinstance(word, bytes) else messages.frame_of(word)

    async def flood() -> None:
        while True:
            line.writer.write(frame * max(1, (256 << 10) // len(frame)))
            await line.writer.drain()

    flooding, reading = asyncio.create_task(flood()), asyncio.create_task(line.is_closed())
    waits = []
    for _ in range(20):
        begun = time.monotonic()
        assert await asyncio.to_thread(premises.is_healthy)
        waits.append(time.monotonic() - begun)
    flooding.cancel()
    reading.cancel()
    await asyncio.gather(flooding, reading, return_exceptions=True)
    assert median(waits) < 0.5
