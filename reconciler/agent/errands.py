"""What agent and shim say to each other over `ctl`: one JSON object per frame."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Optional, Union

from reconciler.protocol.frames import Control, Decoder, FrameError, encoded
from reconciler.protocol.objects import MalformedError, dumped, parsed, plain, restored
from reconciler.protocol.tickets import Final, Output, Secrets, TicketId

READ_BYTES = 64 << 10
UNSENT_BYTES_MAX = 4 << 20  # all outputs of a script and some notices; past that the reader counts as gone


@dataclass(frozen=True)
class Start:
    """Agent to shim, the first thing said of a ticket: make the claim and spawn."""

    ticket: TicketId
    secrets: Secrets = field(repr=False)
    heard_at: float = 0.0
    """As in `Heard`; 0 is not known."""
    interval: float = 0.0


@dataclass(frozen=True)
class Heard:
    """Agent to shim, for scripts that do not run without the server: it has answered what was sent then.

    `at` is read from `silence.now`; the server is asked each `interval` seconds.
    """

    at: float
    interval: float


@dataclass(frozen=True)
class Stop:
    """Agent to shim: kill the whole tree, politely for `grace` seconds."""

    grace: float


@dataclass(frozen=True)
class Taken:
    """Agent to shim: the server holds the journal up to `offset`."""

    offset: int


@dataclass(frozen=True)
class Release:
    """Agent to shim: the final is acknowledged, nothing need be remembered."""


@dataclass(frozen=True)
class Started:
    """Shim to agent: the claim is made."""


@dataclass(frozen=True)
class Grew:
    """Shim to agent: the journal has this length."""

    length: int


@dataclass(frozen=True)
class Done:
    """Shim to agent: the ending is published; here are the outputs that the disk must not hold."""

    final: Final = field(repr=False)
    sensitive: tuple[Output, ...] = field(default=(), repr=False)
    stays: bool = False
    """The shim waits for the next ticket on this connection."""


Errand = Union[Start, Heard, Stop, Taken, Release, Started, Grew, Done]
GREW = b'{"errand":"Grew"'  # how a length begins, as `send` writes it
KINDS: dict[str, type] = {kind.__name__: kind for kind in (Start, Heard, Stop, Taken, Release, Started, Grew, Done)}


class Channel:
    """One end of a connection between agent and shim; never blocks after `start`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._decoder = Decoder()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._connection.fileno()

    def send(self, errand: Errand) -> bool:
        """Send or queue `errand`; say whether the other end may still be there."""
        if len(self._unsent) > UNSENT_BYTES_MAX:
            return False
        self._unsent += encoded(Control(dumped({"errand": type(errand).__name__, **plain(errand)})))
        return self.flush()

    def flush(self) -> bool:
        """Send what the other end takes now; say whether it may still be there."""
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    @property
    def has_unsent(self) -> bool:
        """Say whether `flush` is to be called when the descriptor is writable."""
        return bool(self._unsent)

    def receive(self) -> Optional[list[Errand]]:
        """Return what came, None at the end of the connection; of lengths in a row the last says all."""
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            payloads = [frame.payload for frame in self._decoder.feed(data) if isinstance(frame, Control)]
            return [
                _errand(payload)
                for payload, following in zip(payloads, [*payloads[1:], b""])
                if not (payload.startswith(GREW) and following.startswith(GREW))
            ]
        except (FrameError, MalformedError):
            return None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _errand(payload: bytes) -> Errand:
    value = parsed(payload, "an errand")
    kind = KINDS.get(str(value.get("errand"))) if isinstance(value, dict) else None
    if kind is None:
        raise MalformedError("an errand", "one of " + ", ".join(KINDS))
    errand: Errand = restored(kind, value)
    return errand
