"""The processes of one test, found in /proc: every one of them inherits the home directory that the test has made."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 40.0  # seconds; a test that waits longer has failed
LOOK_AGAIN = 0.01  # seconds between two looks at what another process does


def until(holds: Callable[[], object], what: str = "") -> None:
    """Look until `holds()` is true; fails the test when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain{': ' if what else ''}{what}"
        time.sleep(LOOK_AGAIN)  # what another process does gives us no event


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    parent: int
    session: int
    state: str
    command: str

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Family:
    """Who works for one space: an engine, its agent, the agent's nursery, a shim for each attempt, and scripts."""

    home: Path

    def all(self) -> dict[int, Process]:
        """Return everyone alive."""
        mark = f"HOME={self.home}".encode()
        return {found.pid: found for found in _processes(mark) if found.state not in "ZX"}

    def agent(self) -> Process | None:
        return next((found for found in self.all().values() if _leads_agent(found)), None)

    def nursery(self) -> Process | None:
        agent = self.agent()
        members = self.all().values()
        return next((found for found in members if agent and found.parent == agent.pid), None)

    def but_shims(self) -> list[Process]:
        """Return engine, agent and nursery, and whatever the engine started beside them; no shim and no script."""
        members = self.all()
        return [found for found in members.values() if not _is_below_shim(found, members)]

    def end(self) -> None:
        """Kill everyone and see that nobody is left."""

        def nobody() -> bool:
            for found in self.all().values():
                found.kill()
            return not self.all()

        until(nobody, f"the end of all processes of {self.home}")


def _leads_agent(found: Process) -> bool:
    return "reconciler.agent" in found.command and found.pid == found.session and "--fd" in found.command


def _is_below_shim(found: Process, members: dict[int, Process]) -> bool:
    """Say whether a process is a shim, which leads a session though it was forked from the agent, or its script."""
    agents = {pid for pid, member in members.items() if _leads_agent(member) and member.parent not in members}
    walked: Process | None = found
    while walked is not None:
        forked = "reconciler.agent" in walked.command and walked.pid == walked.session
        if forked and not _is_agent(walked, members):
            return True
        walked = members.get(walked.parent)
    return found.pid not in agents and "reconciler.agent" not in found.command and found.parent == 1


def _is_agent(found: Process, members: dict[int, Process]) -> bool:
    parent = members.get(found.parent)
    return parent is None or "reconciler.agent" not in parent.command


def _processes(mark: bytes) -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # gone meanwhile, or another user's
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(entry.name), int(fields[1]), int(fields[3]), fields[0], command)
