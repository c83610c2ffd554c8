"""The tickets in the agent's care: every verb of the server, each answered with the present state."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterable
from typing import Callable, Optional

from reconciler.agent import directory as tickets_on_disk
from reconciler.agent import errands, life
from reconciler.agent.directory import TICKET_NAME, TicketDirectory, VoidClaim
from reconciler.agent.errands import Channel
from reconciler.agent.forgotten import Forgotten
from reconciler.agent.isolations import Isolations, NotGrantedError
from reconciler.agent.life import Life
from reconciler.agent.nursery import Nursery, NurseryError
from reconciler.agent.retries import Retries
from reconciler.agent.shims import IdleShims
from reconciler.agent.tombstones import Tombstones
from reconciler.protocol.frames import LogBytes
from reconciler.protocol.tickets import (
    Declined,
    Ended,
    Final,
    Offered,
    Output,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
)

STARTS_MAX = 3  # shims that may die before they made the claim; then the machine is at fault
LOOK_AGAIN = 0.05  # seconds until a shim that is coming or going is looked at once more
WRITE_AGAIN = 1.0  # seconds until a full disk is tried once more


class Custody:
    """All tickets of one state directory. `report` and `finish` carry news to the server, if one is there."""

    def __init__(
        self,
        state: str,
        nursery: Nursery,
        selector: selectors.BaseSelector,
        isolations: Isolations,
        *,
        report: Callable[[TicketReport], None],
        finish: Callable[[Final], None],
    ) -> None:
        self._tickets = os.path.join(state, "tickets")
        self._tombstones = Tombstones(os.path.join(state, "tombstones"))
        self._selector = selector
        self._isolations = isolations
        self._shims = IdleShims(nursery, selector)
        self._report = report
        self._finish = finish
        self._lives: dict[TicketId, Life] = {}
        self._unsettled = Retries()
        self._unkept: set[TicketId] = set()  # offers that are not durable yet, and not reported
        self._forgotten = Forgotten(self._tickets, self._tombstones)
        self._turn, self._heard = 0, errands.Heard(0.0, 0.0)

    def take_inventory(self) -> None:
        """Find every ticket on disk, reach the shims that live and bury those that do not."""
        for name in sorted(os.listdir(self._tickets)):
            ticket = TicketId(name)
            found = None if ticket in self._tombstones else life.found(TicketDirectory(self._tickets, ticket))
            if found is None:
                tickets_on_disk.remove(self._tickets, ticket)
            else:
                self._lives[ticket] = found
                self._examine(found)

    def reports(self) -> list[TicketReport]:
        """Return the state of every ticket."""
        return [each.report() for each in self._lives.values()]

    def finals(self) -> Iterable[Final]:
        """Return how the ended tickets ended."""
        return [each.state.final for each in self._lives.values() if isinstance(each.state, Ended)]

    # Verbs.

    def offer(self, spec: TicketSpec, script: Optional[bytes]) -> None:
        """Store a ticket, if it is new."""
        known = self._lives.get(spec.ticket)
        if known is not None:
            self._tell(known)
        elif not TICKET_NAME.fullmatch(spec.ticket):
            self._decline(spec.ticket, "its name holds other characters than letters, digits, '.', '_' and '-'")
        elif spec.ticket in self._tombstones:
            self._decline(spec.ticket, "it was forgotten here")
        else:
            try:
                self._store(self._isolations.granted(spec), script)
            except NotGrantedError as error:
                self._decline(spec.ticket, str(error))

    def run(self, ticket: TicketId, secrets: Secrets) -> None:
        """Start a ticket, unless that was done before."""
        found = self._known(ticket)
        if found is None:
            return
        if isinstance(found.state, Offered) and found.start is None:
            found.start = errands.Start(ticket, secrets, self._heard.at, self._heard.interval)
            if found.channel is None and ticket not in self._unsettled:
                self._fork(found)  # else a shim that an agent before us asked for is there or to be reached
        else:
            self._tell(found)

    def cancel(self, ticket: TicketId, grace: float) -> None:
        """Stop a ticket, or make sure that it never starts."""
        found = self._known(ticket)
        if found is None:
            return
        found.stop = errands.Stop(grace)
        if isinstance(found.state, Offered) and found.start is None:
            self._void(found, "it was cancelled before it started")
        else:
            self._press(found)
            self._tell(found)

    def void(self, ticket: TicketId) -> None:
        """Make sure that a ticket never starts, if it has not."""
        found = self._known(ticket)
        if found is not None:
            self._void(found, "it was withdrawn before it started")

    def forget(self, ticket: TicketId) -> None:
        """Drop a ticket that has ended or never started, a little later; another one stays and is reported."""
        found = self._lives.get(ticket)
        if found is not None and isinstance(found.state, Offered):
            self._forget_offer(found)
        elif found is not None and not life.has_ended(found):
            self._tell(found)
        else:
            self._forgotten.add(ticket)

    def _forget_offer(self, found: Life) -> None:
        claim = self._voided(found, "it was forgotten before it started", lambda: self.forget(found.ticket))
        if claim is not None and found.start is None:
            self._forgotten.add(found.ticket)
        elif claim is not None:
            self._tell(found)  # a shim is on its way, and will find the claim

    def tidy(self, *, is_idle: bool) -> None:
        """Bury what was forgotten a while ago; while nobody waits for the agent, remove it from the disk too."""
        self._let_go(self._forgotten.bury())
        if is_idle:
            self._forgotten.remove_one()

    def _let_go(self, buried: Iterable[TicketId]) -> None:
        for ticket in buried:
            found = self._lives.get(ticket)
            if found is not None:
                if found.channel is not None:
                    found.channel.send(errands.Release())
                    self._selector.unregister(found.channel)
                self._close(found)
                self._forgotten.leave(ticket)
            self._decline(ticket, "it was forgotten here")

    def accept(self) -> None:
        """Make durable what was offered, and say so; where RUN came along, the claim will say more."""
        for ticket in list(self._unkept):
            if self._lives[ticket].start is None:
                self._tell(self._lives[ticket])

    def part(self) -> None:
        """Take that the server is gone: what it offered is made durable, logs wait until it says from where."""
        self.accept()
        self._let_go(self._forgotten.bury(at_once=True))
        while self._forgotten.remove_one():
            pass
        for each in self._lives.values():
            each.sent = None

    def heard(self, at: float, interval: float) -> None:
        """Take that the server has answered what was sent `at` (`silence.now`); it is asked each `interval` seconds."""
        self._heard = errands.Heard(at, interval)
        for each in self._lives.values():
            each.hear(self._heard)

    # Logs and files.

    def acknowledge(self, ticket: TicketId, offset: int) -> None:
        """Take that the server holds a journal up to `offset`."""
        if ticket in self._lives:
            self._lives[ticket].acknowledge(offset)

    def rewind(self, ticket: TicketId, offset: int) -> None:
        """Send a journal from `offset` on."""
        if ticket in self._lives:
            self._lives[ticket].rewind(offset)

    def next_piece(self) -> Optional[LogBytes]:
        """Return the next piece of any journal, each ticket in its turn."""
        lives = list(self._lives.values())
        for step in range(len(lives)):
            piece = lives[(self._turn + step) % len(lives)].next_piece()
            if piece is not None:
                self._turn = (self._turn + step + 1) % len(lives)
                return piece
        return None

    def artifact_path(self, ticket: Optional[TicketId], digest: str) -> Optional[str]:
        """Return where an artifact lies, None if that ticket is not here."""
        found = self._lives.get(ticket) if ticket is not None else None
        return found.directory.inside(os.path.join("artifacts", digest)) if found is not None else None

    # Time.

    def patience(self) -> Optional[float]:
        """Return the seconds until `look_again` or `tidy` has something to do, None if nothing waits."""
        waits = (self._unsettled.patience(), self._forgotten.patience())
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def look_again(self) -> None:
        """Try again what could not be done before."""
        self._unsettled.try_due()

    # Shims.

    def _fork(self, found: Life) -> None:
        assert found.start is not None
        found.starts += 1
        try:
            channel = self._shims.take()
        except NurseryError as error:
            self._void(found, str(error))
            return
        self._attach(found, channel)
        channel.send(found.start)
        self._press(found)

    def _press(self, found: Life) -> None:
        """Tell the shim to stop, if that is wanted and there is one."""
        if found.stop is not None and found.channel is not None:
            found.channel.send(found.stop)

    def _attach(self, found: Life, channel: Channel) -> None:
        assert found.channel is None, "one shim speaks for a ticket"
        found.channel = channel
        found.told = 0
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(found))
        found.hear(self._heard)

    def _hear(self, found: Life) -> None:
        channel = found.channel
        if channel is None:
            return
        heard = channel.receive()
        for errand in heard or ():
            if isinstance(errand, errands.Started):
                self._became_running(found)
            elif isinstance(errand, errands.Grew):
                found.length = max(found.length, errand.length)
            elif isinstance(errand, errands.Done):
                self._ended(found, errand.final, errand.sensitive)
                if errand.stays:
                    self._detach(found, channel)
                    self._shims.put(channel)
        if heard is None:
            self._detach(found, channel)
            channel.close()
            if not life.has_ended(found):
                self._examine(found)

    def _detach(self, found: Life, channel: Channel) -> None:
        self._selector.unregister(channel)
        found.channel = None

    def _became_running(self, found: Life) -> None:
        found.start = None
        self._unkept.discard(found.ticket)  # a claim needs no offer beside it
        if isinstance(found.state, Offered):
            found.become(Running())
            self._tell(found)
        self._shims.fill()  # not before the script is under way, since forking takes the processor from it

    def _examine(self, found: Life) -> None:
        """Find out from disk what became of a ticket that no shim speaks for, once there is room to write it."""
        try:
            self._find_out(found)
        except OSError:
            self._unsettled.later(found.ticket, WRITE_AGAIN, lambda: self._examine(found))

    def _find_out(self, found: Life) -> None:
        is_locked = found.directory.is_locked()
        final = found.directory.final()
        if final is not None and not (is_locked and any(output.sensitive for output in final.outputs)):
            self._ended(found, final)
            life.leave_groups(found.directory)
        elif is_locked:
            self._reach(found)
        elif found.directory.claim() is not None:
            self._bury(found)
        elif found.start is not None and found.starts < STARTS_MAX:
            self._fork(found)
        elif found.start is not None:
            self._void(found, "its supervisor died each time before it could start the script; look at the agent's log")

    def _reach(self, found: Life) -> None:
        try:
            channel = Channel(found.directory.connect())
        except OSError:
            self._unsettled.later(found.ticket, LOOK_AGAIN, lambda: self._examine(found))
            return
        self._attach(found, channel)
        self._press(found)

    def _bury(self, found: Life) -> None:
        final = life.lost(found.directory)
        if final is None:
            self._unsettled.later(found.ticket, LOOK_AGAIN, lambda: self._examine(found))
        else:
            found.directory.publish(final)
            self._ended(found, final)

    def _void(self, found: Life, reason: str) -> None:
        claim = self._voided(found, reason, lambda: self._void(found, reason))
        if claim is not None and not life.has_ended(found):
            self._ended(found, tickets_on_disk.not_started(found.ticket, claim.reason))
        elif claim is not None:
            self._tell(found)

    def _voided(self, found: Life, reason: str, again: Callable[[], None]) -> Optional[VoidClaim]:
        """Make the claim void and return it; where a shim was first, tell that, and reach it if it came late."""
        try:
            found.directory.claim_void(reason)
        except OSError:  # a full disk: there is no proof yet
            self._unsettled.later(found.ticket, WRITE_AGAIN, again)
            return None
        claim = found.directory.claim()
        if isinstance(claim, VoidClaim):
            return claim
        self._tell(found)
        if found.channel is None and found.start is None and not life.has_ended(found):
            self._examine(found)  # it was asked for by an agent before us
        return None

    def _ended(self, found: Life, final: Final, sensitive: tuple[Output, ...] = ()) -> None:
        if life.has_ended(found):
            return
        found.start = None
        self._unkept.discard(found.ticket)
        found.length = final.log_length
        final = life.complete(final, sensitive)
        found.become(Ended(final))
        self._finish(final)

    # Answers.

    def _tell(self, found: Life) -> None:
        """Say how a ticket is; an offer only when it is durable."""
        if found.ticket in self._unkept:
            self._unkept.remove(found.ticket)
            try:
                found.directory.keep()
            except OSError as error:
                if found.start is None:
                    self._refuse(found, error)
                return
        self._report(found.report())

    def _refuse(self, found: Life, error: OSError) -> None:
        self._drop(found)
        self._decline(found.ticket, f"the worker cannot store it: {error.strerror}; look at its state directory")

    def _store(self, spec: TicketSpec, script: Optional[bytes]) -> None:
        try:
            directory = tickets_on_disk.create(self._tickets, spec, script)
        except OSError as error:
            tickets_on_disk.remove(self._tickets, spec.ticket)
            self._decline(spec.ticket, f"the worker cannot store it: {error.strerror}; look at its state directory")
            return
        self._lives[spec.ticket] = Life(directory, Offered(), sent=0, needs_server=spec.silence_max is not None)
        self._unkept.add(spec.ticket)

    def _drop(self, found: Life) -> None:
        self._close(found)
        tickets_on_disk.remove(self._tickets, found.ticket)

    def _close(self, found: Life) -> None:
        found.close()
        del self._lives[found.ticket]
        self._unsettled.drop(found.ticket)
        self._unkept.discard(found.ticket)

    def _known(self, ticket: TicketId) -> Optional[Life]:
        found = self._lives.get(ticket)
        if found is None:
            self._decline(ticket, "this worker does not know it")
        return found

    def _decline(self, ticket: TicketId, reason: str) -> None:
        self._report(TicketReport(ticket, Declined(reason)))
