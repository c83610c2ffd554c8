"""The shim: one small process that owns a script, whatever becomes of agent and server.

It holds the ticket's lock, makes the claim, spawns, writes the journal, kills when told or when time is up, and
publishes the ending. It waits nowhere but at its switchboard. One that has learned no secret and left no process
behind serves the next ticket: it is warm, where a forked one copies every page that it touches.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Optional

from reconciler.agent import cgroups, errands, limits, processes
from reconciler.agent.attempt import Attempt
from reconciler.agent.directory import (
    LOCK_PATIENCE,
    ShimClaim,
    TicketDirectory,
    not_started,
    remove_tree,
)
from reconciler.agent.script import NotRunnableError, Prepared, prepare
from reconciler.agent.silence import Silence
from reconciler.agent.switchboard import Switchboard
from reconciler.agent.watch import Stopping, Watch
from reconciler.protocol.tickets import Cancelled, Ending, Exited, Final, Output, TicketSpec

LISTEN_AGAIN = 1.0  # seconds between tries to open `ctl` on a full disk
LOOK_AGAIN = 10.0  # seconds between two looks whether somebody has removed the ticket
PUBLISH_AGAIN = 1.0  # seconds between tries to publish the ending on a full disk


def serve(agent: socket.socket, tickets: str, helpers: str) -> None:
    """Live attempt after attempt for the agent at the other end, until it is gone or one has left something behind."""
    processes.become_subreaper()
    switchboard = Switchboard()
    switchboard.add(agent)
    while (orders := _awaited(switchboard)) is not None:
        start, *more = orders
        assert isinstance(start, errands.Start)
        directory = TicketDirectory(tickets, start.ticket)
        stays = Shim(directory, start, switchboard).run(helpers, more)
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

    def __init__(self, directory: TicketDirectory, start: errands.Start, switchboard: Switchboard) -> None:
        self._directory = directory
        self._secrets = start.secrets
        self._silence = Silence(start.heard_at, start.interval)
        self._switchboard = switchboard
        self._listener: Optional[socket.socket] = None
        self._attempt: Optional[Attempt] = None
        self._done: Optional[errands.Done] = None
        self._stopping: Optional[Stopping] = None
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
        self._silence.bound(spec.silence_max)
        nonce, cookie = os.urandom(16).hex(), os.urandom(16).hex()
        marks = {processes.COOKIE_NAME: cookie, "RECONCILE_NONCE": nonce, "RECONCILE_TICKET": spec.ticket}
        try:
            prepared = self._prepared(spec, helpers, marks)
        except (NotRunnableError, OSError) as error:
            return self._unable(spec, error)
        try:
            return self._claimed(spec, prepared, nonce, cookie)
        finally:
            cgroups.remove(prepared.groups)

    def _claimed(self, spec: TicketSpec, prepared: Prepared, nonce: str, cookie: str) -> bool:
        try:
            attempt = Attempt(self._directory, spec, self._secrets, nonce)
        except OSError as error:
            return self._unable(spec, error)
        kept = prepared.confinement
        groups = (kept.group, kept.limiting) if kept is not None else ()
        if not self._directory.claim_for_shim(ShimClaim(os.getpid(), processes.boot_id(), cookie, *groups)):
            return False
        self._attempt = attempt
        self._switchboard.tell(errands.Started())
        return self._watched(spec, attempt, prepared)

    def _unable(self, spec: TicketSpec, error: Exception) -> bool:
        """Make the claim void, since nothing can be spawned."""
        reason = _why_not(error)
        if self._directory.claim_void(reason):
            self._finish(not_started(spec.ticket, reason))
        return False

    def _watched(self, spec: TicketSpec, attempt: Attempt, prepared: Prepared) -> bool:
        try:
            watch = Watch(self, attempt, spec, prepared)
        except NotRunnableError as error:
            final = not_started(spec.ticket, str(error))
            self._directory.publish(final)
            self._finish(final)
            return False
        if prepared.is_sandboxed:
            self._sandbox.add(watch.pid)
        attempt.settle()
        watch.run()
        if spec.limits is not None and spec.limits.memory is not None and limits.oom_kills(prepared.groups):
            attempt.blame(limits.out_of_memory(spec.limits.memory), fails=watch.ending() != Exited(0))
        return self._end(attempt, watch)

    def stop(self, ending: Ending, grace: float) -> None:
        """Begin to kill the tree; told again, only make it sooner."""
        kill_at = time.monotonic() + grace
        if self._stopping is not None:
            self._stopping.kill_at = min(kill_at, self._stopping.kill_at)
            return
        self._stopping = Stopping(ending, kill_at)
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
    def stopping(self) -> Optional[Stopping]:
        """Return the kill under way."""
        return self._stopping

    @property
    def silence(self) -> Silence:
        """Return how long the server was not heard."""
        return self._silence

    @property
    def taken(self) -> int:
        """Return how much of the journal the server holds."""
        return self._taken

    def _prepared(self, spec: TicketSpec, helpers: str, marks: dict[str, str]) -> Prepared:
        if self._stopping is not None:
            raise NotRunnableError("it was cancelled before it started")
        return prepare(self._directory, spec, self._secrets, helpers, marks)

    def _end(self, attempt: Attempt, watch: Watch) -> bool:
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
        elif isinstance(errand, errands.Heard):
            self._silence.hear(errand.at, errand.interval)
        elif isinstance(errand, errands.Taken):
            self._taken = max(self._taken, errand.offset)
        elif isinstance(errand, errands.Release):
            self._released = True


def _why_not(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the worker cannot store its log: {error.strerror}; free some space"
    return str(error)
