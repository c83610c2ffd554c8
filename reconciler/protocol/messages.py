"""Messages: the control objects of a session, one class each, and their JSON form.

The server tells the desired state of a ticket (OFFER, RUN, CANCEL, VOID, FORGET), the agent answers each with the
present one (STATE: Offered is the acceptance, Declined the refusal), so that every verb may be repeated. Credit is
never a message of its own: LOGACK lets the agent send `LOG_WINDOW` more bytes of a log, and GET asks for one piece of
a file.

An agent that is not known yet says ENROL instead of HELLO, one whose certificate has run out RENEW; either is answered
by CERTIFIED or REJECT, and nothing else follows on that connection. In a session RENEW may come at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

from reconciler.protocol.frames import Control, encoded
from reconciler.protocol.objects import SURROGATE, MalformedError, dumped, legible, parsed, plain, restored
from reconciler.protocol.tickets import Digest, Final, Secrets, TicketId, TicketReport, TicketSpec

PROTOCOL_VERSION = 1
LOG_WINDOW = 4 << 20  # bytes of one log under way without acknowledgement: 60 MB/s at 60 ms a commit
PIECE_BYTES_MAX = 1 << 20  # of a file, per GET
INVENTORY_PAGE_MAX = 200  # reports; each is about 200 bytes, outputs and artifacts left out
GREETING_BYTES_MAX = 64 << 10  # the first frame of a peer that nobody knows yet


@dataclass(frozen=True)
class Hello:
    """The agent's first message: who it is and which tickets' memory it has."""

    versions: tuple[int, ...]
    store: str
    """Names the agent's state directory for ever: another value means that the tickets' memory is another."""
    boot: str
    incarnation: int
    """Rises at each start of the agent on this state directory."""
    epoch: int
    """The highest session epoch that the agent has seen."""
    capabilities: dict[str, str] = field(default_factory=dict)
    """What its self-test has found: programs with their versions, isolations that work."""
    features: tuple[str, ...] = ()
    """Optional parts of the protocol that the agent knows."""
    subscription: str = ""
    """Under which a polling agent calls."""
    release: str = ""
    """The agent's own version, for people."""


@dataclass(frozen=True)
class HelloOk:
    """The server takes the session: `epoch` is higher than any before; ping at least each `interval` seconds."""

    version: int
    epoch: int
    interval: float
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reject:
    """The server does not take the session; `code` is one of `REJECT_CODES`."""

    code: str
    text: str
    retry_after: float


@dataclass(frozen=True)
class Ping:
    """Show life and tell how the machine is: bytes free where tickets are stored, load average of one minute."""

    sent: float
    disk_free: int = 0
    load: float = 0.0


@dataclass(frozen=True)
class Pong:
    """Answer a ping with the same `sent`."""

    sent: float


@dataclass(frozen=True)
class Inventory:
    """One page of everything that the agent holds; ended tickets come without outputs and artifacts, FINAL follows."""

    reports: tuple[TicketReport, ...]
    last: bool


@dataclass(frozen=True)
class Offer:
    """Store this ticket; answered by STATE with Offered (durable) or Declined."""

    spec: TicketSpec


@dataclass(frozen=True)
class Run:
    """Start this ticket unless its claim is made."""

    ticket: TicketId
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True)
class Cancel:
    """Stop this ticket's whole tree: SIGTERM, `grace` seconds later SIGKILL; void it if it has not started."""

    ticket: TicketId
    grace: float


@dataclass(frozen=True)
class Void:
    """Make sure that this ticket never starts, if it has not."""

    ticket: TicketId


@dataclass(frozen=True)
class Forget:
    """The final is recorded: drop everything but a tombstone."""

    ticket: TicketId


@dataclass(frozen=True)
class State:
    """The present state of one ticket."""

    report: TicketReport


@dataclass(frozen=True)
class Finished:
    """FINAL: how a ticket ended, sensitive outputs included; repeated in each session until FORGET."""

    final: Final = field(repr=False)


@dataclass(frozen=True)
class LogAck:
    """The journal is durable on the server up to `offset`."""

    ticket: TicketId
    offset: int


@dataclass(frozen=True)
class Rewind:
    """Send the journal from `offset` on."""

    ticket: TicketId
    offset: int


@dataclass(frozen=True)
class Get:
    """Send the file `digest` from `offset`, at most `length` bytes; an artifact is kept with its `ticket`."""

    digest: Digest
    offset: int
    length: int
    ticket: Optional[TicketId] = None


@dataclass(frozen=True)
class Missing:
    """A file that was asked for cannot be sent; `text` says why."""

    digest: Digest
    text: str


@dataclass(frozen=True)
class Trust:
    """Whom an agent trusts: certificates of the installation's authorities (PEM), and the server's thumbprints."""

    authorities: tuple[str, ...]
    """The first is the one that certifies now: an agent whose certificate is another's asks for a new one."""
    pins: tuple[str, ...]
    """Thumbprints of the server's present key and, during a change, its next one."""


@dataclass(frozen=True)
class Enrol:
    """Ask for a certificate with a one-use token; repeating it with the same key is harmless."""

    versions: tuple[int, ...]
    token: str = field(repr=False)
    request: str
    """A certificate signing request (PEM); its key is the agent's identity."""
    subscription: str = ""
    """Under which a polling agent will call; empty for one that listens."""
    listen: str = ""
    """`HOST:PORT` where the server reaches a listening agent; empty for one that polls."""


@dataclass(frozen=True)
class Renew:
    """Ask for a new certificate of the key that this connection was opened with, or of the one that is to follow it."""

    request: str


@dataclass(frozen=True)
class Certified:
    """A certificate (PEM) for the request; with ENROL also the worker's name and its pools."""

    certificate: str
    trust: Trust
    worker: str = ""
    pools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """What an agent has to know beside its tickets; sent at the start of each session and when it changes."""

    trust: Trust
    thumbprints: tuple[str, ...]
    """The agent's own identities that Git declares: one, or two during a change of key."""


@dataclass(frozen=True)
class Bye:
    """This end closes the connection on purpose."""

    reason: str


Message = Union[
    Hello, HelloOk, Reject, Ping, Pong, Inventory, Offer, Run, Cancel, Void, Forget, State, Finished, LogAck, Rewind,
    Get, Missing, Enrol, Renew, Certified, Config, Bye,
]  # fmt: skip

REJECT_CODES = {
    "version": "the two ends have no version of the protocol in common",
    "undeclared": "the identity is certified, but no Worker that was carried out bears it yet",
    "revoked": "the identity was revoked",
    "expired": "the certificate has run out; only RENEW is taken",
    "duplicate": "another machine is connected with the same identity",
    "token": "the token is unknown, used, expired or revoked",
    "taken": "the name belongs to a worker with another identity or in other pools",
    "request": "the certificate request is not acceptable",
    "busy": "the server takes no more connections now",
}
"""Why a server refuses a peer; an agent that meets a code it does not know treats it like `busy`."""

KINDS: dict[str, type] = {
    "HELLO": Hello,
    "HELLO_OK": HelloOk,
    "REJECT": Reject,
    "PING": Ping,
    "PONG": Pong,
    "INVENTORY": Inventory,
    "OFFER": Offer,
    "RUN": Run,
    "CANCEL": Cancel,
    "VOID": Void,
    "FORGET": Forget,
    "STATE": State,
    "FINAL": Finished,
    "LOGACK": LogAck,
    "REWIND": Rewind,
    "GET": Get,
    "ERROR": Missing,
    "ENROL": Enrol,
    "RENEW": Renew,
    "CERTIFIED": Certified,
    "CONFIG": Config,
    "BYE": Bye,
}
NAMES = {kind: name for name, kind in KINDS.items()}


def frame_of(message: Message) -> bytes:
    """Return the control frame of `message`; raise `FrameTooLongError` if it does not fit one."""
    return encoded(Control(dumped({"message": NAMES[type(message)], **plain(message)})))


def message_of(payload: bytes, *, as_text: bool = False) -> Optional[Message]:
    """Return the message of a control frame, None if a later version added it; raise `MalformedError` if it is broken.

    With `as_text` it holds no lone surrogates: bytes that are no UTF-8 are U+FFFD.
    """
    value = parsed(payload, "a control frame")
    if as_text and SURROGATE.search(payload):
        value = legible(value)
    name = value.get("message") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise MalformedError("a control frame", "the name of a message")
    kind = KINDS.get(name)
    message: Optional[Message] = restored(kind, value) if kind else None
    return message
