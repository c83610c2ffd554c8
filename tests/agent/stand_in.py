"""Stand-ins for the machine below an agent: supervisors that keep the protocol of a ticket step by step, and a disk that fills up."""

import errno
import os
import socket
from collections import Counter
from dataclasses import dataclass, field

import pytest

from reconciler.agent import durable, errands
from reconciler.agent.attempt import Attempt
from reconciler.agent.directory import ShimClaim, TicketDirectory
from reconciler.agent.errands import Channel
from reconciler.agent.processes import boot_id
from reconciler.protocol.tickets import Cancelled, Ending, Exited, Final, Secrets, TicketId, Usage

NO_TIME = 0.0


class Disk:
    """Fails every write from a moment on, as long as it is full."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        for where, name in ((os, "mkdir"), (os, "symlink"), (os, "fsync"), (os, "fdatasync"), (durable, "write_all")):
            patch.setattr(where, name, self._guarded(getattr(where, name), is_sync="sync" in name))

    def fill(self, calls: int) -> None:
        """Be full after so many more writes."""
        self._left = calls

    def free(self) -> None:
        """Have room again."""
        self._left = None

    def _guarded(self, real, *, is_sync: bool):  # type: ignore[no-untyped-def]  # any function of the system
        def call(*arguments, **more):  # type: ignore[no-untyped-def]  # it takes what that function takes
            if self._left is not None:
                if self._left == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._left -= 1
            return None if is_sync else real(*arguments, **more)  # nothing here outlives a power cut

        return call


@dataclass
class Supervisor:
    """A shim whose every step is the test's: it waits, is locked, claimed, published and at last gone."""

    channel: Channel | None
    tickets: str
    started: Counter[TicketId]
    stage: str = "waiting"
    ticket: TicketId | None = None
    is_stopped: bool = False
    final: Final | None = None
    _heard: list[errands.Errand] = field(default_factory=list)
    _directory: TicketDirectory | None = None
    _lock: int | None = None
    _attempt: Attempt | None = None
    _listener: socket.socket | None = None

    def step(self, code: int) -> None:
        """Do the next thing; the script ends with `code`, or as it was told to."""
        self._hear()
        if self.stage == "locked":
            self._claim()
        elif self.stage == "claimed":
            self._publish(Cancelled() if self.is_stopped else Exited(code))
        elif self.stage == "published":
            assert self.final is not None
            self._tell(errands.Done(self.final))
            self.die()

    def listen(self) -> None:
        """Learn for which ticket this is, without doing anything about it."""
        heard = self.channel.receive() if self.channel is not None else []
        self._heard += heard or ()
        if heard is None and self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.ticket is None:
            self.ticket = next((each.ticket for each in self._heard if isinstance(each, errands.Start)), None)

    def look(self) -> None:
        """Take in what was said, and let an agent in that has come anew; goes no further."""
        self._hear()

    def die(self) -> None:
        """End, as the kernel ends a process: everything open is closed."""
        self.stage = "gone"
        for thing in (self.channel, self._directory, self._listener):
            if thing is not None:
                thing.close()
        if self._attempt is not None:
            self._attempt.close()
        if self._lock is not None:
            os.close(self._lock)
        self.channel = self._directory = self._listener = self._attempt = self._lock = None

    def _hear(self) -> None:
        if self.stage == "gone":
            return
        self.listen()
        heard, self._heard = self._heard, []
        for errand in heard:
            if isinstance(errand, errands.Start) and self.stage == "waiting":
                self._take(errand.ticket)
            elif isinstance(errand, errands.Stop):
                self.is_stopped = True
        if self.channel is None and self.stage != "gone":
            self._be_alone()

    def _take(self, ticket: TicketId) -> None:
        """Take the lock and prepare; give up where somebody was first."""
        try:
            self._directory = TicketDirectory(self.tickets, ticket)
            self._lock = self._directory.lock(NO_TIME)
            spec = self._directory.spec() if self._lock is not None else None
            if spec is None or self._directory.claim() is not None:
                self.die()
                return
            self._attempt = Attempt(self._directory, spec, Secrets(), "nonce")
        except FileNotFoundError:  # it was forgotten meanwhile
            self.die()
            return
        self.stage = "locked"

    def _claim(self) -> None:
        assert self._directory is not None
        assert self.ticket is not None
        try:
            is_first = self._directory.claim_for_shim(ShimClaim(os.getpid(), boot_id(), "no process bears this cookie"))
        except FileNotFoundError:  # it was forgotten meanwhile
            is_first = False
        if not is_first:
            self.die()
            return
        self.started[self.ticket] += 1
        self.stage = "claimed"
        self._tell(errands.Started())

    def _publish(self, ending: Ending) -> None:
        assert self._attempt is not None
        self._attempt.feed(self._attempt.stdout, b"printed\n")
        self.final, _ = self._attempt.ended(ending, Usage(0.0, 0.0, 0))
        self._attempt.publish(self.final)
        self.stage = "published"
        self._tell(errands.Grew(self.final.log_length))

    def _tell(self, errand: errands.Errand) -> None:
        if self.channel is not None:
            self.channel.send(errand)

    def _be_alone(self) -> None:
        """Wait at `ctl` for the next agent; one that has no ticket, or has published, ends with the agent."""
        if self._directory is None or self.stage == "published":
            self.die()
            return
        try:
            if self._listener is None:
                self._listener = self._directory.listen()
                self._listener.setblocking(False)
            agent, _ = self._listener.accept()
        except (BlockingIOError, FileNotFoundError):
            return
        self.channel = Channel(agent)
        if self.stage == "claimed":
            self._tell(errands.Started())
        self._hear()


@dataclass
class Supervisors:
    """A nursery: supervisors wait for the test to move them."""

    tickets: str
    started: Counter[TicketId] = field(default_factory=Counter)
    """How often the script of a ticket was spawned."""
    all: list[Supervisor] = field(default_factory=list)

    def fork_shim(self) -> socket.socket:
        """Return the agent's end of a connection to a new one."""
        ours, theirs = socket.socketpair()
        self.all.append(Supervisor(Channel(theirs), self.tickets, self.started))
        return ours

    def living(self) -> list[Supervisor]:
        """Return those that are not gone, oldest first."""
        self.all = [each for each in self.all if each.stage != "gone"]
        return self.all
