"""What programs answer: all are asked at the same time, and none is waited for longer than the patience lasts.

The module `subprocess` is not used: an agent that has nothing to do would hold its 600 kB for this alone.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Optional

SAID_MAX = 64 << 10  # bytes of an answer; the rest is not waited for
IGNORED_HERE = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, other programs rely on them


@dataclass
class _Asked:
    """A program that was started, and what it has said so far."""

    pid: int
    heard_at: int
    """The descriptor of what it says."""
    said: bytearray = field(default_factory=bytearray)
    is_complete: bool = False


def answers(commands: Mapping[str, Sequence[str]], patience: float) -> dict[str, Optional[str]]:
    """Return what each command says on both its outputs within so many seconds; None where it does not start or end.

    A command is the path of a program and its arguments.
    """
    deadline = time.monotonic() + patience
    started = {name: _started(command) for name, command in commands.items()}
    asked = [each for each in started.values() if each is not None]
    try:
        _listen(asked, deadline)
    finally:
        for each in asked:
            _end(each)
    return {
        name: each.said.decode("utf-8", "replace") if each is not None and each.is_complete else None
        for name, each in started.items()
    }


def _started(command: Sequence[str]) -> Optional[_Asked]:
    """Start a program; None if that is not possible."""
    reading, writing = os.pipe()
    wiring = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_DUP2, writing, 2),
    ]
    try:
        pid = os.posix_spawn(command[0], [*command], os.environ, file_actions=wiring, setsigdef=IGNORED_HERE)
    except OSError:
        os.close(reading)
        return None
    finally:
        os.close(writing)
    return _Asked(pid, reading)


def _listen(asked: Sequence[_Asked], deadline: float) -> None:
    """Take what the programs say, until all have said everything or it is too late."""
    with selectors.DefaultSelector() as selector:
        for each in asked:
            selector.register(each.heard_at, selectors.EVENT_READ, each)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                data = os.read(key.fd, SAID_MAX)
                key.data.said += data
                if not data or len(key.data.said) >= SAID_MAX:
                    key.data.is_complete = True
                    selector.unregister(key.fd)


def _end(asked: _Asked) -> None:
    """Let go of a program; one that has closed its outputs has nothing left to do for us."""
    os.close(asked.heard_at)
    with suppress(ProcessLookupError):
        os.kill(asked.pid, signal.SIGKILL)
    os.waitpid(asked.pid, 0)
