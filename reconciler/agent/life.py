"""One ticket in the agent's memory: its state, the way to its shim and how far its journal is sent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Optional

from reconciler.agent import cgroups
from reconciler.agent.directory import ShimClaim, TicketDirectory
from reconciler.agent.errands import Channel, Heard, Start, Stop, Taken
from reconciler.agent.processes import boot_id, sweep
from reconciler.protocol import journal
from reconciler.protocol.frames import DATA_BYTES_MAX, LogBytes
from reconciler.protocol.messages import LOG_WINDOW
from reconciler.protocol.tickets import (
    Digest,
    Ended,
    Final,
    Lost,
    Offered,
    Output,
    Running,
    TicketId,
    TicketReport,
    TicketState,
)

TAKEN_STEP = 16 << 20  # bytes of log between two words to the shim; it lets the script run far ahead anyway
JOURNAL_READ = 4 << 20  # bytes at once when a dead shim's journal is measured


@dataclass
class Life:
    """What the agent knows of one ticket; everything but the channel can be found again on disk."""

    directory: TicketDirectory
    state: TicketState
    channel: Optional[Channel] = None
    start: Optional[Start] = None
    """What the shim needs, until it has made the claim."""
    stop: Optional[Stop] = None
    """What every shim of this ticket is told once it is reached."""
    starts: int = 0
    """How many shims were asked for."""
    length: int = 0
    """Bytes in the journal, as far as we know."""
    sent: Optional[int] = None
    """Bytes of journal sent in this session; None until the server says from where."""
    acknowledged: int = 0
    told: int = 0
    """What the shim knows of `acknowledged`."""
    sequence: int = 0
    journal: Optional[int] = None
    needs_server: bool = False
    """The shim is told whenever the server was heard."""

    @property
    def ticket(self) -> TicketId:
        """Name the ticket."""
        return self.directory.ticket

    def report(self) -> TicketReport:
        """Say how the ticket is."""
        return TicketReport(self.ticket, self.state, self.length, self.sequence)

    def become(self, state: TicketState) -> None:
        """Take another state."""
        self.state = state
        self.sequence += 1

    def next_piece(self) -> Optional[LogBytes]:
        """Read the next piece of journal that the server has credit for, None if there is none."""
        if self.sent is None or self.sent >= min(self.length, self.acknowledged + LOG_WINDOW):
            return None
        if self.journal is None:
            self.journal = os.open("journal", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory.descriptor)
        data = os.pread(self.journal, min(DATA_BYTES_MAX, self.length - self.sent), self.sent)
        if not data:
            return None
        piece = LogBytes(self.ticket, self.sent, data)
        self.sent += len(data)
        return piece

    def acknowledge(self, offset: int) -> None:
        """Take that the server holds the journal up to `offset`; tell the shim now and then."""
        self.acknowledged = max(self.acknowledged, offset)
        if self.channel is not None and self.acknowledged - self.told >= TAKEN_STEP:
            self.told = self.acknowledged
            self.channel.send(Taken(self.acknowledged))

    def hear(self, heard: Heard) -> None:
        """Tell the shim that the server was heard, if it stops its script otherwise."""
        if self.needs_server and heard.at and self.channel is not None:
            self.channel.send(heard)

    def rewind(self, offset: int) -> None:
        """Send from `offset` on; what lies before is with the server."""
        self.sent = min(offset, self.length)
        self.acknowledged = offset

    def close(self) -> None:
        """Let go of everything open."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.journal is not None:
            os.close(self.journal)
            self.journal = None
        self.directory.close()


def found(directory: TicketDirectory) -> Optional[Life]:
    """Return the life of a ticket as its directory tells it, before any shim was asked; None if it was never accepted."""
    spec, claim = directory.spec(), directory.claim()
    if spec is None and claim is None:
        directory.close()
        return None
    life = Life(directory, Offered(), length=journal_length(directory))
    life.needs_server = spec is not None and spec.silence_max is not None
    if claim is not None:
        life.state = Running()
    return life


def complete(final: Final, sensitive: tuple[Output, ...]) -> Final:
    """Put the sensitive values that the shim remembers into `final`, or say that they are gone."""
    if not any(output.sensitive for output in final.outputs):
        return final
    values = {output.name: output for output in sensitive}
    outputs = tuple(values.get(output.name, output) for output in final.outputs)
    missing = [output.name for output in outputs if output.sensitive and output.name not in values]
    if not missing:
        return replace(final, outputs=outputs)
    sentence = (
        f"output-lost: the sensitive output {', '.join(missing)} was held in the memory of a process that died "
        "before the server had it; run the step again"
    )
    kept = tuple(output for output in outputs if output.name not in missing)
    return replace(final, outputs=kept, message=f"{sentence} {final.message}".rstrip())


def lost(directory: TicketDirectory) -> Optional[Final]:
    """Return the ending of a ticket whose shim died, None while processes of its tree are left."""
    claim = directory.claim()
    known = "its supervisor died without leaving an exit status"
    if not isinstance(claim, ShimClaim):
        known += ", and its claim cannot be read, so that processes may be left"
    elif claim.boot != boot_id():
        known += " when the machine was started anew"
    elif sweep(claim.cookie) and cgroups.emptied(claim.groups):
        known += "; a sweep killed what was left of the script"
    else:
        return None
    leave_groups(directory)
    length, digest = _measured(directory)
    return Final(directory.ticket, Lost(f"{known}; whether the script had done its work is unknown"), length, digest)


def leave_groups(directory: TicketDirectory) -> None:
    """Drop the cgroups that a shim left which died."""
    claim = directory.claim()
    if isinstance(claim, ShimClaim):
        cgroups.remove(claim.groups)


def has_ended(life: Life) -> bool:
    """Say whether the final is known."""
    return isinstance(life.state, Ended)


def journal_length(directory: TicketDirectory) -> int:
    """Return how many bytes the journal has."""
    try:
        return os.stat("journal", dir_fd=directory.descriptor).st_size
    except FileNotFoundError:
        return 0


def _measured(directory: TicketDirectory) -> tuple[int, Digest]:
    """Return length and digest of the whole records in the journal."""
    digest, offset = hashlib.sha256(), 0
    try:
        descriptor = os.open("journal", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory.descriptor)
    except FileNotFoundError:
        return 0, Digest(digest.hexdigest())
    try:
        while data := os.pread(descriptor, JOURNAL_READ, offset):
            try:
                _, length = journal.decoded(data, offset)
            except journal.BrokenJournalError:
                break
            if length == 0:
                break
            digest.update(data[:length])
            offset += length
        os.fsync(descriptor)  # the ending that is published next says how long it is
    finally:
        os.close(descriptor)
    return offset, Digest(digest.hexdigest())
