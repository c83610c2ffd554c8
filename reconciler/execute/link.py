"""The link to one worker: desired states of its tickets, kept across reconnects, and what the worker reports."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from reconciler.execute.breaches import FOREIGN_TICKET, Breaches
from reconciler.execute.carriers import Carrier, CarrierError
from reconciler.execute.conversation import (
    PING_INTERVAL,
    Conversation,
    ConversationEndedError,
    first_of,
    foreign_ticket,
)
from reconciler.execute.counts import Counts
from reconciler.execute.logs import LogStore
from reconciler.execute.watching import Unwatched
from reconciler.protocol import journal, messages
from reconciler.protocol.messages import Message
from reconciler.protocol.session import Connected, Desire, verbs
from reconciler.protocol.tickets import (
    Declined,
    Digest,
    Ended,
    Final,
    Lost,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
    TicketState,
)

BACKOFF_FIRST = 0.05  # seconds before a carrier is opened again; doubles, with full jitter
BACKOFF_LONGEST = 30.0  # a worker that is back is found within this


class Intake(Protocol):
    """What the dispatcher is told, in the order in which it happened on the worker."""

    async def connected(self, worker: str, session: Connected, address: str) -> None:
        """Take a new session with its complete inventory; ended tickets come again through `finished`."""

    async def reported(self, worker: str, report: TicketReport) -> None:
        """Take the present state of a ticket: Offered means durable on the worker, Declined that nothing started."""

    async def finished(self, worker: str, final: Final) -> None:
        """Take how a ticket ended: its log is durable and verified, its artifacts are blobs; repeats until `forget`."""

    async def disconnected(self, worker: str, reason: str) -> None:
        """Take that there is no session; `reason` is a sentence."""

    async def logged(self, worker: str, ticket: TicketId, length: int) -> None:
        """Take the length of a log that is durable now."""

    def owns(self, worker: str, ticket: TicketId) -> bool:
        """Is this a live attempt on this worker?"""


class Registrar(Protocol):
    """What a worker's agent is told of its identity, and who certifies it anew."""

    def config(self, worker: str) -> messages.Config:
        """Return what the agent has to know."""

    async def renewed(self, worker: str, request: str) -> messages.Certified | messages.Reject:
        """Certify a worker's present or next key."""


class WorkerLink:
    """One worker: says what is wanted of its tickets, in this session and the next ones, until they are forgotten."""

    def __init__(
        self,
        worker: str,
        carrier: Carrier,
        logs: LogStore,
        blobs: Path,
        intake: Intake,
        *,
        registrar: Registrar | None = None,
        counts: Counts | None = None,
        breaches: Breaches | None = None,
        epoch_floor: int = 0,
        store: str = "",
        ping_interval: float = PING_INTERVAL,
    ) -> None:
        self.silent_since: float | None = time.time()
        """Since when there is no session; None while one stands."""
        self.thumbprint = ""
        """The identity that the session was opened with."""
        self._registrar = registrar
        self._counts = counts if counts is not None else Counts()
        self._breaches = breaches if breaches is not None else Breaches(self._counts, Unwatched())
        self._worker = worker
        self._carrier = carrier
        self._logs = logs
        self._blobs = blobs
        self._intake = intake
        self._epoch = epoch_floor
        self._ping_interval = ping_interval
        self._desires: dict[TicketId, Desire] = {}
        self._started_on: dict[TicketId, str] = {}  # the worker's store to which RUN was sent
        self._seen: dict[TicketId, TicketState] = {}
        self._log_maxima: dict[TicketId, int] = {}  # bytes, as the specs say that were given to this worker
        self._store = store  # the state directory of the session before, also of another engine's
        self._address = ""
        self._say: Callable[[Message], None] | None = None  # present while a session stands
        self._failures = 0

    async def run(self) -> None:
        """Keep a session open until cancelled; running scripts outlive it."""
        try:
            while True:
                reason = await self._converse()
                self._say = None
                self.silent_since = self.silent_since or time.time()
                await self._intake.disconnected(self._worker, reason)
                longest = min(BACKOFF_FIRST * 2**self._failures, BACKOFF_LONGEST)
                self._failures += 1
                await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret
        finally:
            self._say = None
            await self._carrier.close()

    async def reroute(self, carrier: Carrier) -> None:
        """Reach the worker in another way from now on; what is wanted of its tickets stays."""
        former, self._carrier = self._carrier, carrier
        await former.close()

    async def hang_up(self) -> None:
        """End the session, because the identity that it was opened with holds no more."""
        await self._carrier.close()

    def configure(self) -> None:
        """Tell the agent again what it has to know, if a session stands."""
        if self._say is not None and self._registrar is not None:
            self._say(self._registrar.config(self._worker))

    def offer(self, spec: TicketSpec) -> None:
        """Want this ticket stored on the worker."""
        self.expect(spec)
        self._want(replace(self._desire(spec.ticket), spec=spec), messages.Offer(spec))

    def offer_again(self, spec: TicketSpec) -> None:
        """Want this ticket stored that an engine before us offered, and may have started."""
        self._may_be_started(spec.ticket)
        self.offer(spec)

    def expect(self, spec: TicketSpec) -> None:
        """Take no longer log of this ticket than its spec allows."""
        self._log_maxima[spec.ticket] = journal.journal_bytes_max(spec.output_limit)

    def start(self, ticket: TicketId, secrets: Secrets) -> None:
        """Want this ticket running; may follow `offer` at once.

        Before a session stands it counts as sent: an engine before us may have sent it.
        """
        self._may_be_started(ticket)
        self._want(replace(self._desire(ticket), secrets=secrets), messages.Run(ticket, secrets))

    def cancel(self, ticket: TicketId, grace: float) -> None:
        """Want the whole tree stopped: SIGTERM, `grace` seconds later SIGKILL; one that never started is voided."""
        self._want(replace(self._desire(ticket), cancel_grace=grace), messages.Cancel(ticket, grace))

    def void(self, ticket: TicketId) -> None:
        """Want proof that this ticket never starts; if it has, it is reported as it is."""
        self._want(replace(self._desire(ticket), void=True), messages.Void(ticket))

    def forget(self, ticket: TicketId) -> None:
        """Want the worker to drop this ticket: its final is recorded, or it never was this worker's."""
        if ticket in self._desires:
            self._logs.close(ticket)
        self._want(Desire(ticket, forget=True), messages.Forget(ticket))

    def _may_be_started(self, ticket: TicketId) -> None:
        if self._say is None and self._store:
            self._started_on.setdefault(ticket, self._store)

    def _desire(self, ticket: TicketId) -> Desire:
        return self._desires.get(ticket, Desire(ticket))

    def _want(self, desire: Desire, verb: Message) -> None:
        known = self._desires.get(desire.ticket)
        if known == desire:
            return
        self._desires[desire.ticket] = desire
        if self._say is not None:
            self._tell(self._say, verb)

    def _tell(self, say: Callable[[Message], None], verb: Message) -> None:
        if isinstance(verb, messages.Run):
            self._started_on[verb.ticket] = self._store
        say(verb)

    async def _converse(self) -> str:
        """Hold one session from its start to its end and return why it ended."""
        reason = "the agent closed the connection"
        try:
            connection = await self._carrier.open()
            self.thumbprint, self._address = connection.thumbprint, connection.address
            await Conversation(
                *(connection, self._epoch, self, self._logs, self._blobs),
                counts=self._counts,
                ping_interval=self._ping_interval,
            ).run()
        except* (CarrierError, ConversationEndedError) as group:
            reason = str(first_of(group))
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # a task group whose session ends at the same moment raises that alone
        return reason

    # What the conversation reports.

    async def on_connected(self, event: Connected, say: Callable[[Message], None]) -> None:
        """Compare the inventory with what is wanted, and say what is missing."""
        self._failures = 0
        self.silent_since = None
        self._counts.sessions += 1
        self._epoch, self._store = event.epoch, event.hello.store
        for ticket in [each for each, desire in self._desires.items() if desire.forget and each not in event.reports]:
            self._drop(ticket)
        gone = [ticket for ticket in self._desires if ticket not in event.reports and self._was_started(ticket)]
        self._seen = {ticket: report.state for ticket, report in event.reports.items()}
        await self._intake.connected(self._worker, event, self._address)
        for ticket in gone:
            await self._intake.finished(self._worker, await self._lost(ticket))
        for ticket, state in self._seen.items():
            if self.owns(ticket) and not isinstance(state, Declined):
                say(messages.Rewind(ticket, self._logs.received(ticket)))
        for ticket, desire in list(self._desires.items()):
            if ticket not in gone or desire.forget:
                for verb in verbs(desire, self._seen.get(ticket)):
                    self._tell(say, verb)
        self._say = say
        self.configure()

    async def on_report(self, report: TicketReport) -> None:
        """Pass on the state of one ticket, and drop what is forgotten."""
        ticket = report.ticket
        desire = self._desires.get(ticket)
        if desire is not None and desire.forget and isinstance(report.state, Declined):
            self._drop(ticket)
        if not self.owns(ticket):
            if desire is None and not isinstance(report.state, Declined):  # what it declines it does not claim
                self.breach(FOREIGN_TICKET, foreign_ticket(ticket))
            return
        self._seen[ticket] = report.state
        if desire is not None and isinstance(report.state, Running | Ended):
            self._desires[ticket] = replace(desire, secrets=None)  # never to be sent again
        await self._intake.reported(self._worker, report)

    async def on_finished(self, final: Final) -> None:
        """Pass on how a ticket ended, or say again that it is to be forgotten."""
        desire = self._desires.get(final.ticket)
        if desire is not None and desire.forget and self._say is not None:
            self._say(messages.Forget(final.ticket))
            return
        await self._intake.finished(self._worker, final)

    async def on_logged(self, ticket: TicketId, length: int) -> None:
        """Pass on the durable length of a log."""
        await self._intake.logged(self._worker, ticket, length)

    async def on_renew(self, request: str) -> Message:
        """Have the registrar certify a key."""
        if self._registrar is None:
            return messages.Reject("request", "this worker needs no certificate", retry_after=3600.0)
        return await self._registrar.renewed(self._worker, request)

    def owns(self, ticket: TicketId) -> bool:
        """Was this ticket given to this worker, and is it not forgotten?"""
        desire = self._desires.get(ticket)
        return not desire.forget if desire is not None else self._intake.owns(self._worker, ticket)

    def log_bytes_max(self, ticket: TicketId) -> int:
        """Return how long the log of an attempt may be."""
        return self._log_maxima.get(ticket, journal.JOURNAL_BYTES_MAX)

    def breach(self, kind: str, reason: str) -> None:
        """Count what no honest agent does, and tell of it now and then."""
        self._breaches.note(self._worker, kind, reason)

    def may_fetch(self, digest: Digest) -> bool:
        """Is this the script of a ticket that is offered to this worker?"""
        return any(desire.spec is not None and desire.spec.script_digest == digest for desire in self._desires.values())

    def _was_started(self, ticket: TicketId) -> bool:
        """Say whether RUN went to a memory that is no longer there, so that offering again might start twice."""
        store = self._started_on.get(ticket)
        return store is not None and (store != self._store or ticket in self._seen)

    async def _lost(self, ticket: TicketId) -> Final:
        reason = (
            "the worker no longer knows this ticket: its state directory was emptied or replaced; look at the machine"
        )
        return Final(ticket, Lost(reason), self._logs.received(ticket), await self._logs.digest(ticket))

    def _drop(self, ticket: TicketId) -> None:
        for memory in (self._desires, self._started_on, self._seen, self._log_maxima):
            memory.pop(ticket, None)
