"""A running script as its shim watches it: pipes, time, children, until it has ended and its output is complete."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Optional, Protocol

from reconciler.agent import errands, processes
from reconciler.agent.attempt import Attempt
from reconciler.agent.output import OutputStream
from reconciler.agent.script import Prepared, spawn
from reconciler.agent.silence import LOOK_AGAIN, Silence
from reconciler.agent.switchboard import Switchboard
from reconciler.protocol.tickets import CutOff, Ending, Exited, Signalled, TicketSpec, TimedOut, Usage

READ_BYTES = 256 << 10  # per wakeup
JOURNAL_AHEAD_MAX = 256 << 20  # bytes of journal that no server has; then the script's pipe fills and it waits
OUTPUT_PATIENCE = 2.0  # seconds after the script's end that a grandchild may keep the output open
TIMEOUT_GRACE = 5.0  # seconds between SIGTERM and SIGKILL when the timeout has passed
KILL_AGAIN = 0.1  # seconds between rounds of SIGKILL, until nothing is left


@dataclass
class Stopping:
    """A kill under way: how the attempt ends by it, and when SIGKILL is due."""

    ending: Ending
    kill_at: float


@dataclass
class _Pipe:
    """One of the script's outputs; not read while the journal is too far ahead."""

    stream: OutputStream
    is_read: bool = True


class Owner(Protocol):
    """The shim, as far as the watch needs it."""

    @property
    def switchboard(self) -> Switchboard:
        """Return where everything arrives."""

    @property
    def stopping(self) -> Optional[Stopping]:
        """Return the kill under way."""

    @property
    def taken(self) -> int:
        """Return how much of the journal the server holds."""

    @property
    def silence(self) -> Silence:
        """Return how long the server was not heard."""

    def turn(self, patience: Optional[float]) -> None:
        """Wait for what comes next, at most `patience` seconds."""

    def stop(self, ending: Ending, grace: float) -> None:
        """Begin to kill the tree; told again, only make it sooner."""


class Watch:
    """A running script: its pipes, its time and its children."""

    def __init__(self, owner: Owner, attempt: Attempt, spec: TicketSpec, prepared: Prepared) -> None:
        self._owner = owner
        self._attempt = attempt
        self._status: Optional[int] = None
        self._ended_at = 0.0
        self._has_children = True
        self._cpu, self._memory_peak = 0.0, 0
        self._started_at = time.monotonic()
        self._timeout = spec.timeout
        spawned = spawn(prepared)
        self._pid = spawned.pid
        self._timeout_at = None if spec.timeout is None else self._started_at + spec.timeout
        self._pipes = {spawned.stdout: _Pipe(attempt.stdout), spawned.stderr: _Pipe(attempt.stderr)}
        for descriptor in self._pipes:
            self._attend(descriptor)

    def run(self) -> None:
        """Watch until the script has ended and its output is complete."""
        self._reap()
        while not self._is_over():
            self._owner.turn(self._patience())
            self._reap()
            self._keep_time()
            self._keep_pace()
        for descriptor in list(self._pipes):
            while descriptor in self._pipes and self._read(descriptor):
                pass  # what was printed before the end

    def ending(self) -> Ending:
        """Say how the script ended."""
        if self._owner.stopping is not None:
            return self._owner.stopping.ending
        assert self._status is not None
        if os.WIFSIGNALED(self._status):
            return Signalled(os.WTERMSIG(self._status))
        return Exited(os.WEXITSTATUS(self._status))

    def usage(self) -> Usage:
        """Say what the tree used, as far as it has ended."""
        return Usage(self._cpu, time.monotonic() - self._started_at, self._memory_peak)

    @property
    def pid(self) -> int:
        """Name the process that was spawned."""
        return self._pid

    @property
    def left_nothing(self) -> bool:
        """Say whether no process of the tree lives and nobody holds its pipes."""
        return not self._has_children and not self._pipes

    def _is_over(self) -> bool:
        if self._status is None:
            return False
        if self._owner.stopping is not None:
            return not self._has_children  # the proof that nothing is left
        return not self._pipes or time.monotonic() >= self._ended_at + OUTPUT_PATIENCE

    def _patience(self) -> Optional[float]:
        due = []
        if self._owner.stopping is not None:
            due.append(self._owner.stopping.kill_at)
        elif self._status is not None:
            due.append(self._ended_at + OUTPUT_PATIENCE)
        else:
            due += [] if self._timeout_at is None else [self._timeout_at]
            due += [] if self._owner.silence.seconds_max is None else [time.monotonic() + LOOK_AGAIN]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _attend(self, descriptor: int) -> None:
        self._owner.switchboard.watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> bool:
        """Take what a pipe holds; say whether there was anything."""
        pipe = self._pipes[descriptor]
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            if pipe.is_read:
                self._owner.switchboard.ignore(descriptor)
            del self._pipes[descriptor]
            os.close(descriptor)
            return False
        self._attempt.feed(pipe.stream, data)
        if self._attempt.death_sentence and self._owner.stopping is None:
            self._attempt.say(self._attempt.death_sentence)
            self._owner.stop(Signalled(signal.SIGKILL), grace=0.0)
        self._owner.switchboard.tell(errands.Grew(self._attempt.length))
        return True

    def _keep_pace(self) -> None:
        """Read no further while the journal is too far ahead of the server: the script waits at its full pipe."""
        wanted = self._attempt.length - self._owner.taken <= JOURNAL_AHEAD_MAX or self._owner.stopping is not None
        for descriptor, pipe in self._pipes.items():
            if pipe.is_read and not wanted:
                self._owner.switchboard.ignore(descriptor)
            elif wanted and not pipe.is_read:
                self._attend(descriptor)
            pipe.is_read = wanted

    def _reap(self) -> None:
        """Collect the dead: the script, and orphans of its tree that became ours."""
        try:
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._cpu += used.ru_utime + used.ru_stime
                self._memory_peak = max(self._memory_peak, used.ru_maxrss * 1024)
                if pid == self._pid:
                    self._status, self._ended_at = status, time.monotonic()
        except ChildProcessError:
            self._has_children = False

    def _time_out(self) -> None:
        self._timeout_at = None
        if self._owner.stopping is None:
            self._attempt.say(f"the timeout of {self._timeout:g} s has passed; the script and its children are killed")
            self._owner.stop(TimedOut(), TIMEOUT_GRACE)

    def _cut_off(self, grace: float) -> None:
        self._attempt.say(
            "the server was not heard; the script and its children are killed, so that nothing of it runs after "
            f"{self._owner.silence.seconds_max:g} s of silence"
        )
        self._owner.stop(CutOff(), grace)

    def _keep_time(self) -> None:
        now = time.monotonic()
        grace = self._owner.silence.grace() if self._status is None and self._owner.stopping is None else None
        if grace is not None:
            self._cut_off(grace)
        if self._timeout_at is not None and now >= self._timeout_at and self._status is None:
            self._time_out()
        stopping = self._owner.stopping
        if stopping is not None and now >= stopping.kill_at and self._has_children:
            processes.kill_tree(os.getpid())
            stopping.kill_at = now + KILL_AGAIN
