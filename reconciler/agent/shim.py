"""The shim: one small process that owns a script, whatever becomes of agent and server.

It holds the ticket's lock, makes the claim, spawns, writes the journal, kills when told or when time is up, and
publishes the ending. It waits nowhere but at its switchboard. One that has learned no secret and left no process
behind serves the next ticket: it is warm, where a forked one copies every page that it touches.
"""

from __future__ import annotations

import gc
import os
import secrets as chance
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

from reconciler.agent import cgroups, errands, processes
from reconciler.agent.attempt import Attempt
from reconciler.agent.directory import (
    LOCK_PATIENCE,
    ShimClaim,
    TicketDirectory,
    not_started,
    remove_tree,
)
from reconciler.agent.output import OutputStream
from reconciler.agent.script import NotRunnableError, Prepared, prepare, spawn
from reconciler.agent.switchboard import Switchboard
from reconciler.protocol.tickets import (
    Cancelled,
    Ending,
    Exited,
    Final,
    Output,
    Secrets,
    Signalled,
    TicketSpec,
    TimedOut,
    Usage,
)

LISTEN_AGAIN = 1.0  # seconds between tries to open `ctl` on a full disk
READ_BYTES = 256 << 10  # per wakeup
JOURNAL_AHEAD_MAX = 256 << 20  # bytes of journal that no server has; then the script's pipe fills and it waits
OUTPUT_PATIENCE = 2.0  # seconds after the script's end that a grandchild may keep the output open
TIMEOUT_GRACE = 5.0  # seconds between SIGTERM and SIGKILL when the timeout has passed
KILL_AGAIN = 0.1  # seconds between rounds of SIGKILL, until nothing is left
LOOK_AGAIN = 10.0  # seconds between two looks whether somebody has removed the ticket
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


def serve(agent: socket.socket, tickets: str, helpers: str) -> None:
    """Live attempt after attempt for the agent at the other end, until it is gone or one has left something behind."""
    processes.become_subreaper()
    switchboard = Switchboard()
    switchboard.add(agent)
    while (orders := _awaited(switchboard)) is not None:
        start, *more = orders
        assert isinstance(start, errands.Start)
        directory = TicketDirectory(tickets, start.ticket)
        stays = Shim(directory, start.secrets, switchboard).run(helpers, more)
        directory.close()
        if not stays:
            return
        gc.collect()


def _awaited(switchboard: Switchboard) -> Optional[list[errands.Errand]]:
    """Wait for `Start` and return it with what came after it; None if the agent is gone."""
    heard: list[errands.Errand] = []
    switchboard.attend(heard.append, tuple)
    while not switchboard.is_alone:
        switchboard.turn(None)
        while heard and not isinstance(heard[0], errands.Start):
            del heard[0]  # meant for the ticket before, which had ended when it was said
        if heard:
            return heard
    return None


class Shim:
    """The life of one attempt, from the lock to the published ending."""

    def __init__(self, directory: TicketDirectory, secrets: Secrets, switchboard: Switchboard) -> None:
        self._directory = directory
        self._secrets = secrets
        self._switchboard = switchboard
        self._listener: Optional[socket.socket] = None
        self._attempt: Optional[Attempt] = None
        self._done: Optional[errands.Done] = None
        self._stopping: Optional[_Stopping] = None
        self._released = False
        self._taken = 0
        self._sandbox: set[int] = set()  # it would take its script along at once, without any grace

    def run(self, helpers: str, orders: Iterable[errands.Errand]) -> bool:
        """Live the attempt; say whether nothing is left that the next one would meet.

        Returns early, having changed nothing, where another shim or a void was first.
        """
        lock = self._directory.lock(LOCK_PATIENCE)
        if lock is None:
            return False
        try:
            return self._live(helpers, orders)
        finally:
            os.close(lock)

    def _live(self, helpers: str, orders: Iterable[errands.Errand]) -> bool:
        spec = self._directory.spec()
        if spec is None or self._directory.claim() is not None:
            return False
        self._switchboard.attend(self._hear, self._greeting)
        for errand in orders:
            self._hear(errand)
        nonce, cookie = chance.token_hex(16), chance.token_hex(16)
        marks = {processes.COOKIE_NAME: cookie, "RECONCILE_NONCE": nonce, "RECONCILE_TICKET": spec.ticket}
        try:
            prepared = self._prepared(spec, helpers, marks)
            attempt = Attempt(self._directory, spec, self._secrets, nonce)
        except (NotRunnableError, OSError) as error:
            reason = _why_not(error)
            if self._directory.claim_void(reason):
                self._finish(not_started(spec.ticket, reason))
            return False
        if not self._directory.claim_for_shim(ShimClaim(os.getpid(), processes.boot_id(), cookie, prepared.group)):
            return False
        self._attempt = attempt
        self._switchboard.tell(errands.Started())
        return self._watched(spec, attempt, prepared)

    def _watched(self, spec: TicketSpec, attempt: Attempt, prepared: Prepared) -> bool:
        try:
            watch = _Watch(self, attempt, spec, prepared)
        except NotRunnableError as error:
            final = not_started(spec.ticket, str(error))
            self._directory.publish(final)
            self._finish(final)
            return False
        if prepared.is_sandboxed:
            self._sandbox.add(watch.pid)
        attempt.settle()
        watch.run()
        stays = self._end(attempt, watch)
        cgroups.remove(prepared.group)
        return stays

    def stop(self, ending: Ending, grace: float) -> None:
        """Begin to kill the tree; told again, only make it sooner."""
        kill_at = time.monotonic() + grace
        if self._stopping is not None:
            self._stopping.kill_at = min(kill_at, self._stopping.kill_at)
            return
        self._stopping = _Stopping(ending, kill_at)
        if grace > 0:
            processes.tell(processes.descendants(os.getpid()) - self._sandbox, signal.SIGTERM)

    def turn(self, patience: Optional[float]) -> None:
        """Wait for what comes next, at most `patience` seconds; while no agent is connected, at `ctl` too."""
        if self._switchboard.is_alone and not self._listens():
            patience = LISTEN_AGAIN if patience is None else min(patience, LISTEN_AGAIN)
        self._switchboard.turn(patience)

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

    def _prepared(self, spec: TicketSpec, helpers: str, marks: dict[str, str]) -> Prepared:
        if self._stopping is not None:
            raise NotRunnableError("it was cancelled before it started")
        return prepare(self._directory, spec, self._secrets, helpers, marks)

    def _end(self, attempt: Attempt, watch: _Watch) -> bool:
        final, sensitive = attempt.ended(watch.ending(), watch.usage())
        while True:
            try:
                attempt.publish(final)
                break
            except OSError:  # a full disk: whoever frees space finds the ending
                self.turn(PUBLISH_AGAIN)
        stays = watch.left_nothing and not attempt.knows_secrets and self._listener is None
        self._finish(final, sensitive, stays=stays)
        for name in ("work", "tmp"):
            remove_tree(self._directory.inside(name))
        while sensitive and not self._released and self._directory.exists:  # no disk may hold them: we must remember
            self.turn(LOOK_AGAIN)
        attempt.close()
        return stays

    def _finish(self, final: Final, sensitive: tuple[Output, ...] = (), *, stays: bool = False) -> None:
        self._done = errands.Done(final, sensitive, stays)
        self._switchboard.tell(self._done)

    def _listens(self) -> bool:
        """Open `ctl`, unless that is done; say whether an agent can connect."""
        if self._listener is None:
            try:
                self._listener = self._directory.listen()
            except OSError:
                return False
            self._switchboard.listen(self._listener)
        return True

    def _greeting(self) -> Iterator[errands.Errand]:
        if self._attempt is not None:
            yield errands.Started()
            yield errands.Grew(self._attempt.length)
        if self._done is not None:
            yield self._done

    def _hear(self, errand: errands.Errand) -> None:
        if isinstance(errand, errands.Stop):
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
            self._shim.turn(self._patience())
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


def _why_not(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the worker cannot store its log: {error.strerror}; free some space"
    return str(error)
