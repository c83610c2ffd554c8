"""What the server's log says of a worker that does what no honest one does: a line per worker, kind and minute."""

import asyncio
import io
from pathlib import Path

import pytest

from reconciler.execute.breaches import TOLD_MAX, Breaches
from reconciler.execute.counts import Counts
from reconciler.execute.watching import Breached
from reconciler.protocol import messages
from reconciler.protocol.frames import HEADER, Control, LogBytes, encoded
from reconciler.protocol.tickets import Artifact, Declined, Digest, Running, TicketId, TicketReport
from reconciler.server.voice import Voice
from tests.hostile.closeup import Lines, closeup, until_heard
from tests.hostile.intruder import Line, final, printed
from tests.hostile.premises import PATIENCE, Premises

THEIRS = TicketId("theirs")
FOREIGN = "it spoke of the attempt 'theirs', which it was not given, or which was forgotten"


@pytest.mark.parametrize(
    "word",
    [
        LogBytes(THEIRS, 0, printed("forged")),
        messages.Finished(final(THEIRS)),
        messages.State(TicketReport(THEIRS, Running())),
    ],
    ids=["log", "ending", "state"],
)
async def test_a_word_on_a_foreign_ticket_is_told(word: messages.Message | LogBytes, tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        seen.line.say(word, word)
        await until_heard(seen)
        assert seen.lines.told == [Breached("w2", "foreign ticket", 1, FOREIGN)]
        assert seen.counts.rejects == {"foreign ticket": 2}


async def test_a_ticket_that_a_worker_declines_is_not_claimed(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        seen.line.say(messages.State(TicketReport(THEIRS, Declined("it was forgotten here"))))
        await until_heard(seen)
        assert not seen.lines.told
        assert not seen.counts.rejects


async def test_a_wish_for_a_foreign_file_is_told(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        seen.line.say(messages.Get(Digest("../../key"), 0, 1))
        await seen.line.hear(messages.Missing)
        reason = "it asked for the file '../../key', which is no script of an attempt that it was given"
        assert seen.lines.told == [Breached("w2", "foreign file", 1, reason)]


NONSENSE = {
    "a frame of type 77 cannot be read; the other end speaks another protocol": HEADER.pack(1, 77, 0, 0) + b"x",
    "a control frame has 4294967295 bytes, 1048576 are allowed": HEADER.pack((1 << 32) - 1, 1, 0, 0),
    "a control frame: a JSON object was expected; the other end speaks another protocol": encoded(Control(b"{")),
}


@pytest.mark.parametrize("reason", NONSENSE)
async def test_bytes_that_are_no_frame_are_told(reason: str, tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        await until_heard(seen)
        seen.line.writer.write(NONSENSE[reason])
        async with asyncio.timeout(PATIENCE):
            assert await seen.session == reason
        assert seen.lines.told == [Breached("w2", "malformed", 1, reason)]
        assert seen.counts.rejects == {"malformed": 1}


async def test_a_cut_connection_is_no_breach(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        await until_heard(seen)
        seen.line.cut()
        await seen.session
        assert not seen.lines.told


def test_of_one_worker_and_kind_a_line_a_minute_is_told_and_each_breach_counted() -> None:
    now, counts, lines = [0.0], Counts(), Lines()
    breaches = Breaches(counts, lines, clock=lambda: now[0])
    for second in (0.0, 1.0, 59.9, 60.0, 61.0):
        now[0] = second
        breaches.note("w2", "malformed", f"at {second:g}")
        breaches.note("w3", "malformed", f"at {second:g}")
    breaches.note("w2", "foreign file", "another kind")
    assert lines.told == [
        Breached("w2", "malformed", 1, "at 0"),
        Breached("w3", "malformed", 1, "at 0"),
        Breached("w2", "malformed", 3, "at 60"),
        Breached("w3", "malformed", 3, "at 60"),
        Breached("w2", "foreign file", 1, "another kind"),
    ]
    assert counts.rejects == {"malformed": 10, "foreign file": 1}


def test_the_memory_of_what_was_told_is_bounded() -> None:
    breaches = Breaches(Counts(), Lines(), clock=lambda: 0.0)
    for number in range(TOLD_MAX + 10):
        breaches.note(f"w{number}", "malformed", "x")
    assert len(breaches._told) == TOLD_MAX


def test_a_line_of_the_log_says_what_an_agent_said_and_nothing_else() -> None:
    stream = io.StringIO()
    Breaches(Counts(), Voice(stream=stream)).note("w2", "malformed", 'no\nlevel=info event="forged"\x1b[2J')
    line, rest = stream.getvalue().split("\n")
    assert line.endswith(
        r"""level=warning event=breach worker=w2 kind=malformed times=1 reason="no level=info event=\"forged\"�[2J\""""[
            :-2
        ]
        + '"'
    )
    assert rest == ""


@pytest.mark.end_to_end
async def test_the_servers_log_tells_of_each_kind_once(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    honest = premises.honest_ticket()
    for _ in range(100):
        line.say(LogBytes(honest, 0, printed("forged")), messages.Get(Digest("a" * 64), 0, 1))
    line.say(messages.Finished(final(spec.ticket, artifacts=(Artifact("x", 1 << 50, Digest("a" * 64)),))))
    await line.hear(messages.Forget)
    line.say(b"{")
    assert await line.is_closed()
    for kind in ("foreign ticket", "foreign file", "artifact too large", "malformed"):
        shown = f'"{kind}"' if " " in kind else kind
        told = premises.said.count(f"level=warning event=breach worker=w2 kind={shown} times=")
        assert 1 <= told <= premises.metric(f"rejects:{kind}")
    assert premises.said.count('kind="foreign ticket"') < 10
