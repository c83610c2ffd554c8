"""A ticket on disk: the one truth about an attempt that survives every process.

`spec` what was offered · `lock` held while a shim lives for it · `claim` who was first, a shim or `void` · `journal`
the masked output · `exit` the Final, blank before · `ctl` the shim's socket, there once its agent has gone · `work`,
`tmp`, `artifacts` · `script.…` what is run.

Power cuts: whoever makes the claim makes the directory durable with it, `spec` is made durable by `keep` before the
offer counts as accepted (a claim says more, and needs no spec to be read), and `journal` before `exit`. A torn file
counts as none.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional, Union

from reconciler.agent import durable
from reconciler.protocol.objects import MalformedError, dumped, loaded
from reconciler.protocol.tickets import Digest, Final, NotStarted, TicketId, TicketSpec

TICKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SUFFIXES = {"bash": ".sh", "sh": ".sh", "python": ".py", "powershell": ".ps1"}
REASON_MAX = 600  # characters; six bytes each at worst, and a claim is a link of 4095 bytes
EXIT_BYTES = 1024  # an ending without outputs has 300
LOCK_PATIENCE = 2.0  # seconds that a shim waits for the one before it to vanish
EMPTY_DIGEST = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")  # SHA-256 of nothing


@dataclass(frozen=True)
class ShimClaim:
    """A shim was first: the script may have started, its processes carry `cookie`."""

    pid: int
    boot: str
    cookie: str
    group: str = ""
    """Their cgroup of version 2; empty if they have none."""
    limiting: tuple[str, ...] = ()
    """Those that hold their limits."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return every cgroup of theirs."""
        return tuple(dict.fromkeys(filter(None, (self.group, *self.limiting))))


@dataclass(frozen=True)
class VoidClaim:
    """The ticket was voided first: nothing ever starts."""

    reason: str


@dataclass(frozen=True)
class UnreadableClaim:
    """Somebody was first, nobody knows who; counts as started."""


Claim = Union[ShimClaim, VoidClaim, UnreadableClaim]


@dataclass(frozen=True)
class _ClaimFile:
    """The content of `claim`: exactly one field is there."""

    shim: Optional[ShimClaim] = None
    void: Optional[VoidClaim] = None


class TicketDirectory:
    """The directory of one ticket; opened for as long as this object lives."""

    def __init__(self, tickets: str, ticket: TicketId) -> None:
        self.ticket = ticket
        self.path = os.path.join(tickets, ticket)
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.descriptor)

    def inside(self, name: str) -> str:
        """Return the path of the file `name`."""
        return os.path.join(self.path, name)

    @property
    def exists(self) -> bool:
        """Say whether the directory has not been removed by somebody."""
        return os.fstat(self.descriptor).st_nlink > 0

    def spec(self) -> Optional[TicketSpec]:
        """Return what was offered, None if it was never completely stored."""
        try:
            return loaded(TicketSpec, durable.read(self.descriptor, "spec"))
        except (FileNotFoundError, MalformedError):
            return None

    def claim(self) -> Optional[Claim]:
        """Return who was first, None if nobody was."""
        try:
            file = loaded(_ClaimFile, durable.claimed(self.descriptor, "claim"))
        except FileNotFoundError:
            return None
        except (OSError, MalformedError):
            return UnreadableClaim()
        return file.shim or file.void or UnreadableClaim()

    def claim_for_shim(self, claim: ShimClaim) -> bool:
        """Make the ticket started, unless somebody was first."""
        return self._claim(_ClaimFile(shim=claim))

    def claim_void(self, reason: str) -> bool:
        """Make sure that the ticket never starts, unless somebody was first; a very long reason is cut."""
        return self._claim(_ClaimFile(void=VoidClaim(reason[:REASON_MAX])))

    def final(self) -> Optional[Final]:
        """Return how the ticket ended, durably, None if it has not; a void claim is an ending too."""
        try:
            found = loaded(Final, durable.read(self.descriptor, "exit"))
        except (FileNotFoundError, MalformedError):  # torn by a power cut before anybody was told
            claim = self.claim()
        else:
            durable.sync(self.descriptor, "exit")  # whoever wrote it may have died before that
            return found
        return not_started(self.ticket, claim.reason) if isinstance(claim, VoidClaim) else None

    def publish(self, final: Final) -> None:
        """Make `final` the ticket's ending for ever."""
        durable.publish(self.descriptor, "exit", dumped(final))

    def blank_exit(self) -> int:
        """Create `exit` blank, to be durable with the claim, and return its descriptor for `fill_exit`.

        Most endings fit the blanks: writing one then neither makes nor grows a file, which is twice as fast to sync.
        """
        return durable.create(self.descriptor, "exit", b" " * EXIT_BYTES)

    def keep(self) -> None:
        """Make the offer durable."""
        descriptor = os.open("spec", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(self.descriptor)
        durable.sync_directory(os.path.dirname(self.path))

    def lock(self, patience: float) -> Optional[int]:
        """Return a descriptor that holds the lock while it is open, None if another process holds it."""
        descriptor = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.FILE_MODE, dir_fd=self.descriptor)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)  # flock knows no timeout

    def is_locked(self) -> bool:
        """Say whether a shim lives."""
        descriptor = self.lock(patience=0.0)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def listen(self) -> socket.socket:
        """Open `ctl` for connections; replaces one that a dead shim left."""
        if os.path.lexists(self.inside("ctl")):
            os.unlink("ctl", dir_fd=self.descriptor)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._ctl_address())
        listener.listen(4)
        return listener

    def connect(self) -> socket.socket:
        """Reach the shim through `ctl`; raise `OSError` if there is none."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.connect(self._ctl_address())
        except OSError:
            channel.close()
            raise
        return channel

    def _claim(self, content: _ClaimFile) -> bool:
        is_ours = durable.claim(self.descriptor, "claim", dumped(content))
        if is_ours:
            durable.sync_directory(os.path.dirname(self.path))
        return is_ours

    def _ctl_address(self) -> str:
        return f"/proc/self/fd/{self.descriptor}/ctl"  # an address holds 107 bytes, a path may be longer


def create(tickets: str, spec: TicketSpec, script: Optional[bytes] = None) -> TicketDirectory:
    """Store an offer, not yet durable; `script` is the text that did not come within `spec`."""
    with suppress(FileExistsError):
        os.mkdir(os.path.join(tickets, spec.ticket), mode=0o700)
    directory = TicketDirectory(tickets, spec.ticket)
    if script is not None:
        durable.publish(directory.descriptor, script_name(spec), script)
    os.close(durable.create(directory.descriptor, "spec", dumped(spec)))
    return directory


def remove(tickets: str, ticket: TicketId) -> None:
    """Drop everything of a ticket; files that a script made undeletable stay behind, unnamed by any ticket."""
    remove_tree(os.path.join(tickets, ticket))


def remove_tree(path: str) -> None:
    """Remove a directory and what can be removed in it; quick where it holds plain files or nothing."""
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def fill_exit(descriptor: int, final: Final) -> None:
    """Make `final` the ticket's ending for ever, in the `exit` that was created before the claim."""
    data = dumped(final)
    os.lseek(descriptor, 0, os.SEEK_SET)
    durable.write_all(descriptor, data)
    os.fdatasync(descriptor)


def script_name(spec: TicketSpec) -> str:
    """Return the name of the file that the interpreter is given."""
    return "script" + SUFFIXES.get(spec.language, "")


def not_started(ticket: TicketId, reason: str) -> Final:
    """Return the ending of a ticket of which nothing was ever spawned."""
    return Final(ticket, NotStarted(reason), 0, EMPTY_DIGEST)
