"""Sessions: bytes of one connection in, events out, for both ends; no I/O, no clock.

A session opens with HELLO from the agent, HELLO_OK or REJECT from the server and the agent's whole inventory; after
that both ends speak freely. What is to be sent is taken with `outgoing()`. Whether a peer is welcome is decided outside:
the server's end hands its HELLO out and waits for `welcome` or `reject`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Optional, Union

from reconciler.protocol import messages
from reconciler.protocol.frames import CONTROL_BYTES_MAX, Control, Decoder, FileBytes, Frame, LogBytes, encoded
from reconciler.protocol.messages import Message, frame_of, message_of
from reconciler.protocol.tickets import (
    Ended,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
    TicketState,
)

SILENT_INTERVALS = 3  # without a byte, then the other end counts as gone
INVENTORY_MAX = 5_000  # tickets; a worker has as many as it has slots, and some that ended unheard
INVENTORY_BYTES_MAX = 2 << 20  # a report has about 200, or 400 with an ending
EPOCH_LEAP_MAX = 1 << 32  # sessions that a restored server has forgotten; a greater leap would soon use up all numbers


class ProtocolError(Exception):
    """The other end broke the order of a session."""

    def __init__(self, got: str, expected: str) -> None:
        super().__init__(f"{got} came where {expected} was expected; close the connection and connect again")


class RejectedError(Exception):
    """The server does not take the session; waiting `retry_after` seconds may help."""

    def __init__(self, reject: messages.Reject) -> None:
        super().__init__(f"the server refused this agent: {reject.text}")
        self.code = reject.code
        self.text = reject.text
        self.retry_after = reject.retry_after


@dataclass(frozen=True)
class Connected:
    """The handshake is done; `reports` is the complete inventory."""

    hello: messages.Hello
    epoch: int
    reports: Mapping[TicketId, TicketReport]


Heard = Union[Message, LogBytes, FileBytes]
Event = Union[Heard, Connected]


class _Stream:
    """The frames of one connection, both ways."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._outgoing: list[bytes] = []

    def send(self, message: Message) -> None:
        """Queue `message`; raise `FrameTooLongError` if it does not fit a frame."""
        self._outgoing.append(frame_of(message))

    def send_data(self, frame: Union[LogBytes, FileBytes]) -> None:
        """Queue a piece of a log or a file; the caller keeps to the other end's credit."""
        self._outgoing.append(encoded(frame))

    def outgoing(self) -> bytes:
        """Take what has been queued."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def _heard(self, data: bytes) -> list[Heard]:
        """Return what `data` completes, without messages that only later versions know."""
        heard = (self._understood(frame) for frame in self._decoder.feed(data))
        return [each for each in heard if each is not None]

    def _understood(self, frame: Frame) -> Optional[Heard]:
        return message_of(frame.payload) if isinstance(frame, Control) else frame


class AgentSession(_Stream):
    """The worker's end of one connection."""

    def __init__(self, hello: messages.Hello) -> None:
        super().__init__(Decoder())
        self.epoch: Optional[int] = None
        self.interval = 5.0
        self.send(hello)

    def receive(self, data: bytes) -> list[Event]:
        """Return what the server said; the first is always HELLO_OK. Raise `RejectedError`, `ProtocolError`, `FrameError`."""
        events: list[Event] = []
        for heard in self._heard(data):
            if isinstance(heard, messages.Reject):
                raise RejectedError(heard)
            if isinstance(heard, messages.HelloOk):
                self.epoch, self.interval = heard.epoch, heard.interval
            elif self.epoch is None:
                raise ProtocolError(type(heard).__name__, "HELLO_OK")
            events.append(heard)
        return events

    def send_inventory(self, reports: Iterable[TicketReport]) -> None:
        """Queue the whole inventory in pages."""
        brief = [_brief(report) for report in reports]
        pages = [
            tuple(brief[start : start + messages.INVENTORY_PAGE_MAX])
            for start in range(0, len(brief), messages.INVENTORY_PAGE_MAX)
        ] or [()]
        for page in pages[:-1]:
            self.send(messages.Inventory(page, last=False))
        self.send(messages.Inventory(pages[-1], last=True))


class ServerSession(_Stream):
    """The server's end of one connection: first a HELLO (ENROL, RENEW), then its inventory, then everything else."""

    def __init__(self, interval: float) -> None:
        super().__init__(Decoder(messages.GREETING_BYTES_MAX))
        self.hello: Optional[messages.Hello] = None
        self.interval = interval
        self._epoch = 0
        self._reports: Optional[dict[TicketId, TicketReport]] = {}
        self._inventory_bytes = 0

    def receive(self, data: bytes) -> list[Event]:
        """Return what the agent said: a greeting first, `Connected` after its welcome, then the rest.

        Raise `ProtocolError`, `FrameError`, `MalformedError`.
        """
        if self._reports is not None:
            self._inventory_bytes += len(data)
            if self._inventory_bytes > INVENTORY_BYTES_MAX:
                raise ProtocolError(f"an inventory of more than {INVENTORY_BYTES_MAX} bytes", "its end")
        events: list[Event] = []
        for heard in self._heard(data):
            if self.hello is None:
                events.append(self._greeting(heard))
            elif isinstance(heard, messages.Hello):
                raise ProtocolError("a second HELLO", "anything else")
            elif self._reports is not None:
                events += self._take_page(self.hello, heard, self._reports)
            else:
                events.append(heard)
        return events

    def welcome(self, epoch_floor: int) -> None:
        """Take the session: its epoch is above `epoch_floor`, the highest that the server gave to this worker so far."""
        assert self.hello is not None, "nobody is welcomed before HELLO"
        self._decoder.control_bytes_max = CONTROL_BYTES_MAX
        is_plausible = self.hello.epoch - epoch_floor <= EPOCH_LEAP_MAX
        self._epoch = max(epoch_floor, self.hello.epoch if is_plausible else 0) + 1  # a restored server is not deaf
        self.send(messages.HelloOk(messages.PROTOCOL_VERSION, self._epoch, self.interval))

    def reject(self, code: str, text: str, retry_after: float) -> None:
        """Refuse the peer in words; the connection is of no further use."""
        self.send(messages.Reject(code, text, retry_after))

    def _understood(self, frame: Frame) -> Optional[Heard]:
        return message_of(frame.payload, as_text=True) if isinstance(frame, Control) else frame

    def _greeting(self, heard: Heard) -> Event:
        if isinstance(heard, (messages.Enrol, messages.Renew)):
            return heard
        if not isinstance(heard, messages.Hello):
            raise ProtocolError(type(heard).__name__, "HELLO")
        if messages.PROTOCOL_VERSION not in heard.versions:
            text = f"it speaks versions {list(heard.versions)}, this server {messages.PROTOCOL_VERSION}; update it"
            self.reject("version", text, retry_after=300.0)
            raise ProtocolError(f"HELLO of versions {list(heard.versions)}", f"version {messages.PROTOCOL_VERSION}")
        self.hello = heard
        return heard

    def _take_page(
        self, hello: messages.Hello, heard: Heard, reports: dict[TicketId, TicketReport]
    ) -> Iterable[Connected]:
        if isinstance(heard, messages.Ping):
            return
        if not isinstance(heard, messages.Inventory) or not self._epoch:
            raise ProtocolError(type(heard).__name__, "INVENTORY" if self._epoch else "nothing before HELLO_OK")
        reports.update((report.ticket, report) for report in heard.reports)
        if len(reports) > INVENTORY_MAX:
            raise ProtocolError(f"an inventory of more than {INVENTORY_MAX} tickets", "its end")
        if heard.last:
            self._reports = None
            yield Connected(hello, self._epoch, reports)


@dataclass(frozen=True)
class Desire:
    """What the server wants of one ticket; a wish stays until the ticket is forgotten."""

    ticket: TicketId
    spec: Optional[TicketSpec] = None
    secrets: Optional[Secrets] = None
    """Present when the ticket is to run."""
    cancel_grace: Optional[float] = None
    void: bool = False
    forget: bool = False


def verbs(desire: Desire, state: Optional[TicketState]) -> list[Message]:
    """Say what brings a ticket from `state` (None: the agent does not know it) to `desire`; repeating it is harmless."""
    ticket = desire.ticket
    if desire.forget:
        return [messages.Forget(ticket)]
    if isinstance(state, Ended):
        return []
    said: list[Message] = []
    if state is None and desire.spec is not None:
        said.append(messages.Offer(desire.spec))
    if desire.void:
        said.append(messages.Void(ticket))
    elif desire.secrets is not None and desire.cancel_grace is None and not isinstance(state, Running):
        said.append(messages.Run(ticket, desire.secrets))
    if desire.cancel_grace is not None:
        said.append(messages.Cancel(ticket, desire.cancel_grace))
    return said


def _brief(report: TicketReport) -> TicketReport:
    if isinstance(report.state, Ended):
        return replace(report, state=Ended(replace(report.state.final, outputs=(), artifacts=())))
    return report
