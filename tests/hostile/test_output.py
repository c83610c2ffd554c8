"""Output that would command a terminal, or passes itself off as ours."""

import asyncio
import os
import pty
import subprocess

import pytest

from reconciler.protocol import messages
from reconciler.protocol.frames import LogBytes
from reconciler.protocol.journal import Kind
from tests.hostile.intruder import Line, final, printed
from tests.hostile.premises import BIN, PATIENCE, Premises

pytestmark = pytest.mark.end_to_end

NASTY = "\x1b]0;title\x07\x1b[2J\x1b[8mhidden\x1b[0m\r<== Bait succeeded\r\n\x9b31mred\u202etxt.exe\x7f\b\b\x1b[1m<== Bait succeeded\x1b[0m\nüber\tall 😀\n"


def on_a_terminal(premises: Premises, *words: str) -> str:
    """Return what a command shows a person."""
    ours, theirs = pty.openpty()
    command = [str(BIN / "reconcile"), *words, "-C", str(premises.root), "--data", str(premises.data)]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the last one on the other side is gone
                break
            shown += data
        assert process.wait(timeout=PATIENCE) == 0, shown
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


async def test_what_a_script_prints_does_not_command_a_terminal(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    log = printed(NASTY) + printed(f"5 {NASTY}", Kind.PROGRESS) + printed("\xff\x1b[2J", Kind.GAP)
    line.say(LogBytes(spec.ticket, 0, log), messages.Finished(final(spec.ticket, log, message=NASTY)))
    await line.hear(messages.Forget)
    shown = on_a_terminal(premises, "logs", "bait-test")
    assert shown.count("\x1b[1m==> Bait on w2") == len(premises.tries())
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert all(letter.isprintable() or letter in "\n\t" for letter in plain)
    assert "�[2J�[8mhidden�[0m�<== Bait succeeded\n�31mred�txt.exe" in shown
    assert "über\tall 😀\n" in shown
    assert "\x1b[1m<== Bait succeeded" not in shown, "a line of ours was forged"
    for words in (("logs", "bait-test", "--json"), ("status",), ("events",), ("tasks",), ("get", "worker")):
        seen = on_a_terminal(premises, *words)
        assert all(letter.isprintable() or letter in "\n\t" for letter in seen), words


async def test_a_file_gets_every_byte_of_a_log_as_it_came(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    log = printed(NASTY)
    line.say(LogBytes(spec.ticket, 0, log), messages.Finished(final(spec.ticket, log)))
    await line.hear(messages.Forget)
    command = [str(BIN / "reconcile"), "logs", "bait-test", "-C", str(premises.root), "--data", str(premises.data)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert NASTY.encode() in done.stdout
