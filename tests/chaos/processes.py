"""The processes of one test, found in /proc: every one of them inherits the home directory that the test has made."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 40.0  # seconds; a test that waits longer has failed
LOOK_AGAIN = 0.01  # seconds between two looks: what another process does gives us no event


def until(holds: Callable[[], object], what: str = "", patience: float = PATIENCE) -> None:
    """Look until `holds()` is true; fails the test when patience ends."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what or 'what the test expects'}"
        time.sleep(LOOK_AGAIN)


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    parent: int
    command: str
    session: int = 0

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, unless it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Family:
    """Who works for one space: an engine, its agent, the agent's nursery, shims and scripts."""

    home: Path

    def members(self) -> list[Process]:
        """Return everyone alive."""
        return list(_processes(f"HOME={self.home}".encode()))

    def agent_of(self, engine: int) -> Process | None:
        """Return the agent that an engine has started."""
        return next((found for found in self.members() if found.parent == engine and _is_ours(found)), None)

    def nursery_of(self, engine: int) -> Process | None:
        """Return the process that forks the shims, itself a fork of the agent."""
        agent = self.agent_of(engine)
        return next((found for found in self.members() if agent and found.parent == agent.pid), None)

    def scripts(self, word: str) -> list[Process]:
        """Return the processes whose command holds a word."""
        return [found for found in self.members() if word in found.command]

    def end(self) -> None:
        """Kill everyone and see that nobody is left."""

        def nobody() -> bool:
            for found in self.members():
                found.signal()
            return not self.members()

        until(nobody, f"the end of all processes of {self.home}")


def _is_ours(found: Process) -> bool:
    return "-m reconciler.agent " in found.command


def _processes(mark: bytes) -> Iterator[Process]:
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # gone meanwhile, or another user's
            entry = Path("/proc", name)
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                state, parent, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if state not in "ZX":
                    yield Process(int(name), int(parent), command, int(session))
