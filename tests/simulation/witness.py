"""Who sees everything: scripts as they live, frames as they are sent, rows as they are committed; and holds the guarantees."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.model.live import Attempt, AttemptState, StepRun, StepState, Task, TaskState
from reconciler.protocol import journal
from reconciler.protocol.objects import plain
from reconciler.protocol.tickets import Ending, TicketId
from tests.simulation.network import control_of

PROOFLESS = frozenset({"Lost"})
"""Endings that leave open what a script did."""


@dataclass(frozen=True, slots=True)
class Play:
    """What a step's attempts print and how they exit, one after the other; the last one repeats."""

    exits: tuple[int, ...] = (0,)
    pieces: tuple[bytes, ...] = (b"first\n", b"second\n")
    repeats_lost: bool = False

    def exit_of(self, number: int) -> int:
        return self.exits[min(number, len(self.exits)) - 1]


class Broken(AssertionError):
    """A guarantee does not hold."""

    def __init__(self, guarantee: str, sentence: str) -> None:
        super().__init__(f"{guarantee}: {sentence}")
        self.guarantee = guarantee


@dataclass
class Witness:
    """Watches one step; `durable` returns what a power cut would leave of a ticket's log on the server."""

    play: Play
    durable: Callable[[TicketId], bytes]
    broken: Broken | None = None
    starts: Counter[TicketId] = field(default_factory=Counter)
    alive: set[TicketId] = field(default_factory=set)
    journals: dict[TicketId, bytes] = field(default_factory=dict)
    acknowledged: dict[TicketId, int] = field(default_factory=dict)
    _published: dict[TicketId, object] = field(default_factory=dict)
    _told: dict[TicketId, object] = field(default_factory=dict)
    _recorded: dict[TicketId, Attempt] = field(default_factory=dict)

    def blame(self, guarantee: str, sentence: str) -> None:
        """Keep the first breach; whoever conducts the world raises it."""
        if self.broken is None:
            self.broken = Broken(guarantee, sentence)

    # Scripts.

    def spawn(self, ticket: TicketId, cookie: str) -> Sequence[bytes]:
        self.starts[ticket] += 1
        if self.starts[ticket] > 1:
            self.blame("G1", f"the script of {ticket} was started {self.starts[ticket]} times")
        if self.alive and not self.play.repeats_lost:
            self.blame("G2", f"{ticket} was started while {', '.join(self.alive)} lives")
        if ticket in self._recorded and _ending(self._recorded[ticket])["is"] == "NotStarted":
            self.blame("G2", f"{ticket} was started after it was recorded as never started")
        self.alive.add(ticket)
        return self.play.pieces

    def exit(self, ticket: TicketId) -> int:
        self.alive.discard(ticket)
        return self.play.exit_of(_number(ticket))

    def kill(self, ticket: TicketId) -> None:
        self.alive.discard(ticket)

    def wrote(self, ticket: TicketId, journal: bytes) -> None:
        self.journals[ticket] = journal

    def published(self, ticket: TicketId, ending: Ending) -> None:
        self._published.setdefault(ticket, plain(ending))

    # Frames.

    def said_by_server(self, frame: bytes) -> None:
        """Look at what the server sends: an acknowledged byte is durable, and the script's."""
        said = control_of(frame)
        if said.get("message") != "LOGACK":
            return
        ticket, offset = TicketId(str(said["ticket"])), said["offset"]
        assert isinstance(offset, int)
        held = self.durable(ticket)
        if len(held) < offset:
            self.blame("G4", f"{offset} bytes of {ticket} were acknowledged while {len(held)} were durable")
        self.acknowledged[ticket] = max(offset, self.acknowledged.get(ticket, 0))

    def said_by_agent(self, frame: bytes) -> None:
        """Look at what the agent sends: an ending never changes."""
        said = control_of(frame)
        if said.get("message") != "FINAL":
            return
        final = said["final"]
        assert isinstance(final, dict)
        ticket, ending = TicketId(str(final["ticket"])), final["ending"]
        if self._told.setdefault(ticket, ending) != ending:
            self.blame("G5", f"{ticket} ended with {self._told[ticket]}, then with {ending}")

    # Rows.

    def committed(self, task: Task, runs: Sequence[StepRun], rows: Sequence[Attempt]) -> None:
        """Look at what a transaction left."""
        for row in rows:
            self._look_at(row)
        for former in rows[:-1]:
            if not self._may_be_followed(former):
                self.blame("G2", f"{former.ticket} was followed by another attempt without any proof")
        cancelled = task.state is TaskState.CANCELLED or any(run.state is StepState.CANCELLED for run in runs)
        if cancelled and self.alive:
            self.blame("G6", f"cancelled was recorded while {', '.join(self.alive)} lives")

    def _look_at(self, row: Attempt) -> None:
        ticket = TicketId(row.ticket)
        if row.state is not AttemptState.ENDED:
            return
        before = self._recorded.setdefault(ticket, row)
        if (before.ending, before.finished_at) != (row.ending, row.finished_at):
            self.blame("G5", f"the end of {ticket} was recorded twice")
        ending = _ending(row)
        known = self._published.get(ticket, self._told.get(ticket, ending))
        if ending != known:
            self.blame("G5", f"{ticket} ended with {known}, and {ending} was recorded")
        if ending["is"] == "Cancelled" and ticket in self.alive:
            self.blame("G6", f"{ticket} was recorded as cancelled while it lives")
        if ending["is"] == "NotStarted" and self.starts[ticket]:
            self.blame("G2", f"{ticket} was recorded as never started, and it was")

    def _may_be_followed(self, row: Attempt) -> bool:
        if row.state is AttemptState.LOST:
            return self.play.repeats_lost
        if row.state is not AttemptState.ENDED:
            return False
        return _ending(row)["is"] not in PROOFLESS or self.play.repeats_lost

    def kept(self, logs: Mapping[TicketId, bytes]) -> None:
        """Look at the logs on the server's disk: what was acknowledged is there, and nothing but the script's bytes."""
        for ticket, log in logs.items():
            if log != self.journals.get(ticket, b"")[: len(log)]:
                self.blame("G4", f"the log of {ticket} holds other bytes than its journal")
        for ticket, offset in self.acknowledged.items():
            if len(logs.get(ticket, b"")) < offset:
                self.blame("G4", f"{offset} bytes of {ticket} were acknowledged, {len(logs.get(ticket, b''))} are left")

    def ended(self, rows: Sequence[Attempt], logs: Mapping[TicketId, bytes]) -> None:
        """Look at how it all ended."""
        self.kept(logs)
        for row in rows:
            ticket, log = TicketId(row.ticket), logs.get(TicketId(row.ticket), b"")
            if len(log) != row.log_length:
                self.blame("G4", f"the log of {ticket} has {len(log)} bytes, {row.log_length} were recorded")
            if _ending(row)["is"] == "Exited" and _printed(log) != b"".join(self.play.pieces):
                self.blame("G4", f"the log of {ticket} is not what the script printed")


def _printed(log: bytes) -> bytes:
    return b"".join(record.data for record in journal.decoded(log)[0] if record.kind is journal.Kind.STDOUT)


def _ending(row: Attempt) -> dict[str, object]:
    ending = json.loads(row.ending)["ending"]
    assert isinstance(ending, dict)
    return ending


def _number(ticket: TicketId) -> int:
    return int(ticket.split("-")[2])
