"""The shim: one small process per attempt that owns the script, whatever becomes of agent and server.

It holds the ticket's lock while it lives, makes the claim, spawns, writes the journal, kills when told or when time is
up, and publishes the ending. It waits nowhere but at its switchboard.
"""

from __future__ import annotations

import os
import secrets as chance
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable, Optional

from reconciler.agent import errands, processes
from reconciler.agent.attempt import Attempt
from reconciler.agent.directory import LOCK_PATIENCE, ShimClaim, TicketDirectory, not_started
from reconciler.agent.output import OutputStream
from reconciler.agent.script import NotRunnableError, Prepared, prepare, spawn
from reconciler.agent.switchboard import Switchboard
from reconciler.protocol.tickets import Cancelled, Ending, Exited, Secrets, Signalled, TicketSpec, TimedOut

START_PATIENCE = 10.0  # seconds that a fresh shim waits for the agent's first words
READ_BYTES = 256 << 10  # per wakeup
JOURNAL_AHEAD_MAX = 256 << 20  # bytes of journal that no server has; then the script's pipe fills and it waits
OUTPUT_PATIENCE = 2.0  # seconds after the script's end that a grandchild may keep the output open
TIMEOUT_GRACE = 5.0  # seconds between SIGTERM and SIGKILL when the timeout has passed
KILL_AGAIN = 0.1  # seconds between rounds of SIGKILL, until nothing is left
PUBLISH_AGAIN = 1.0  # seconds between tries to publish the ending on a full disk


@dataclass
class _Stopping:
    """A kill under way: how the attempt ends by it, and when SIGKILL is due."""

    ending: Ending
    kill_at: float


@dataclass
class _Pipe:
    """One of the script's outputs; not read while the journal is too far ahead."""

    stream: OutputStream
    is_read: bool = True


class Shim:
    """The life of one attempt, from the lock to the published ending."""

    def __init__(self, helpers: str) -> None:
        self._helpers = helpers
        self._switchboard = Switchboard(self._hear, self._greeting)
        self._secrets: Optional[Secrets] = None
        self._attempt: Optional[Attempt] = None
        self._done: Optional[errands.Done] = None
        self._stopping: Optional[_Stopping] = None
        self._released = False
        self._taken = 0

    def run(self, directory: TicketDirectory, first: socket.socket, on_spawned: Callable[[], None]) -> None:
        """Live the attempt; return early, having changed nothing, where another shim or a void was first."""
        self._directory = directory
        lock = directory.lock(LOCK_PATIENCE)
        spec = directory.spec()
        if lock is None or spec is None or directory.claim() is not None:
            return
        self._switchboard.listen(directory.listen())
        self._switchboard.add(first)
        secrets = self._awaited_start()
        if secrets is None:
            return
        nonce = chance.token_hex(16)
        prepared = self._claimed(spec, secrets, nonce)
        if prepared is None:
            return
        self._attempt = attempt = Attempt(self._directory, spec, secrets, nonce)
        self._switchboard.tell(errands.Started())
        try:
            watch = _Watch(self, attempt, spec, prepared)
        except NotRunnableError as error:
            self._directory.publish(not_started(spec.ticket, str(error)))
            self._switchboard.tell(errands.Done(()))
            return
        on_spawned()
        watch.run()
        self._end(attempt, watch.ending())

    def stop(self, ending: Ending, grace: float) -> None:
        """Begin to kill the tree; told again, only make it sooner."""
        kill_at = time.monotonic() + grace
        if self._stopping is not None:
            self._stopping.kill_at = min(kill_at, self._stopping.kill_at)
            return
        self._stopping = _Stopping(ending, kill_at)
        if grace > 0:
            processes.tell(processes.descendants(os.getpid()), signal.SIGTERM)

    @property
    def switchboard(self) -> Switchboard:
        """Return where everything arrives."""
        return self._switchboard

    @property
    def stopping(self) -> Optional[_Stopping]:
        """Return the kill under way."""
        return self._stopping

    @property
    def taken(self) -> int:
        """Return how much of the journal the server holds."""
        return self._taken

    def _awaited_start(self) -> Optional[Secrets]:
        """Wait for the agent's first words; None if it is gone, and nothing has happened then."""
        deadline = time.monotonic() + START_PATIENCE
        while self._secrets is None and not self._switchboard.is_alone and time.monotonic() < deadline:
            self._switchboard.turn(deadline - time.monotonic())
        return self._secrets

    def _claimed(self, spec: TicketSpec, secrets: Secrets, nonce: str) -> Optional[Prepared]:
        """Prepare the script and make the claim: the moment of starting. None if there is nothing to start."""
        cookie = chance.token_hex(16)
        marks = {processes.COOKIE_NAME: cookie, "RECONCILE_NONCE": nonce, "RECONCILE_TICKET": spec.ticket}
        try:
            if self._stopping is not None:
                raise NotRunnableError("it was cancelled before it started")
            prepared = prepare(self._directory, spec, secrets, self._helpers, marks)
        except NotRunnableError as error:
            if self._directory.claim_void(str(error)):
                self._switchboard.tell(errands.Done(()))
            return None
        processes.become_subreaper()
        claim = ShimClaim(os.getpid(), processes.boot_id(), cookie)
        return prepared if self._directory.claim_for_shim(claim) else None

    def _end(self, attempt: Attempt, ending: Ending) -> None:
        final, sensitive = attempt.ended(ending)
        while True:
            try:
                attempt.sync()
                self._directory.publish(final)
                break
            except OSError:  # a full disk: whoever frees space finds the ending
                self._switchboard.turn(PUBLISH_AGAIN)
        self._done = errands.Done(sensitive)
        self._switchboard.tell(self._done)
        for name in ("work", "tmp"):
            shutil.rmtree(self._directory.inside(name), ignore_errors=True)
        while sensitive and not self._released:  # no disk may hold them, so somebody must remember
            self._switchboard.turn(None)

    def _greeting(self) -> Iterator[errands.Errand]:
        if self._attempt is not None:
            yield errands.Started()
            yield errands.Grew(self._attempt.length)
        if self._done is not None:
            yield self._done

    def _hear(self, errand: errands.Errand) -> None:
        if isinstance(errand, errands.Start):
            self._secrets = errand.secrets
        elif isinstance(errand, errands.Stop):
            if self._done is None:
                self.stop(Cancelled(), errand.grace)
        elif isinstance(errand, errands.Taken):
            self._taken = max(self._taken, errand.offset)
        elif isinstance(errand, errands.Release):
            self._released = True


class _Watch:
    """A running script: its pipes, its time and its children."""

    def __init__(self, shim: Shim, attempt: Attempt, spec: TicketSpec, prepared: Prepared) -> None:
        self._shim = shim
        self._attempt = attempt
        self._status: Optional[int] = None
        self._ended_at = 0.0
        self._has_children = True
        self._timeout = spec.timeout
        spawned = spawn(prepared)
        self._pid = spawned.pid
        self._timeout_at = None if spec.timeout is None else time.monotonic() + spec.timeout
        self._pipes = {spawned.stdout: _Pipe(attempt.stdout), spawned.stderr: _Pipe(attempt.stderr)}
        for descriptor in self._pipes:
            self._attend(descriptor)

    def run(self) -> None:
        """Watch until the script has ended and its output is complete."""
        self._reap()
        while not self._is_over():
            self._shim.switchboard.turn(self._patience())
            self._reap()
            self._keep_time()
            self._keep_pace()
        for descriptor in list(self._pipes):
            while descriptor in self._pipes and self._read(descriptor):
                pass  # what was printed before the end

    def ending(self) -> Ending:
        """Say how the script ended."""
        if self._shim.stopping is not None:
            return self._shim.stopping.ending
        assert self._status is not None
        if os.WIFSIGNALED(self._status):
            return Signalled(os.WTERMSIG(self._status))
        return Exited(os.WEXITSTATUS(self._status))

    def _is_over(self) -> bool:
        if self._status is None:
            return False
        if self._shim.stopping is not None:
            return not self._has_children  # the proof that nothing is left
        return not self._pipes or time.monotonic() >= self._ended_at + OUTPUT_PATIENCE

    def _patience(self) -> Optional[float]:
        due = []
        if self._shim.stopping is not None:
            due.append(self._shim.stopping.kill_at)
        elif self._status is not None:
            due.append(self._ended_at + OUTPUT_PATIENCE)
        elif self._timeout_at is not None:
            due.append(self._timeout_at)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _attend(self, descriptor: int) -> None:
        self._shim.switchboard.watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> bool:
        """Take what a pipe holds; say whether there was anything."""
        pipe = self._pipes[descriptor]
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            if pipe.is_read:
                self._shim.switchboard.ignore(descriptor)
            del self._pipes[descriptor]
            os.close(descriptor)
            return False
        self._attempt.feed(pipe.stream, data)
        if self._attempt.death_sentence and self._shim.stopping is None:
            self._attempt.say(self._attempt.death_sentence)
            self._shim.stop(Signalled(signal.SIGKILL), grace=0.0)
        self._shim.switchboard.tell(errands.Grew(self._attempt.length))
        return True

    def _keep_pace(self) -> None:
        """Read no further while the journal is too far ahead of the server: the script waits at its full pipe."""
        wanted = self._attempt.length - self._shim.taken <= JOURNAL_AHEAD_MAX or self._shim.stopping is not None
        for descriptor, pipe in self._pipes.items():
            if pipe.is_read and not wanted:
                self._shim.switchboard.ignore(descriptor)
            elif wanted and not pipe.is_read:
                self._attend(descriptor)
            pipe.is_read = wanted

    def _reap(self) -> None:
        """Collect the dead: the script, and orphans of its tree that became ours."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status, self._ended_at = status, time.monotonic()
        except ChildProcessError:
            self._has_children = False

    def _time_out(self) -> None:
        self._timeout_at = None
        if self._shim.stopping is None:
            self._attempt.say(f"the timeout of {self._timeout:g} s has passed; the script and its children are killed")
            self._shim.stop(TimedOut(), TIMEOUT_GRACE)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self._timeout_at is not None and now >= self._timeout_at and self._status is None:
            self._time_out()
        stopping = self._shim.stopping
        if stopping is not None and now >= stopping.kill_at and self._has_children:
            processes.kill_tree(os.getpid())
            stopping.kill_at = now + KILL_AGAIN
