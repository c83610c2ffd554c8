"""A plea: one question on a connection of its own, and its answer; for an agent that is not known yet or has run out."""

from __future__ import annotations

import ssl
import time
from typing import Callable, Optional, Union

from reconciler.agent.dialling import PATIENCE
from reconciler.agent.faults import ConnectError, RefusedError, described
from reconciler.agent.wire import READ_BYTES, Wire
from reconciler.protocol.frames import Control, Decoder, FrameError
from reconciler.protocol.messages import Certified, Enrol, Message, Reject, Renew, frame_of, message_of
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, RejectedError
from reconciler.protocol.tickets import Final, TicketReport

Question = Union[Enrol, Renew]


class Plea:
    """A conversation that is over when the certificate has come; `hear` takes it."""

    def __init__(self, wire: Wire, question: Question, hear: Callable[[Certified], None]) -> None:
        self.wire = wire
        self.why = ""
        self._hear = hear
        self._unsent = bytearray(frame_of(question))
        self._decoder = Decoder()
        self._ends_at = time.monotonic() + PATIENCE

    def receive(self) -> None:
        """Take the answer; raise `RejectedError`, `ProtocolError`, `FrameError`, `MalformedError`."""
        if self.why:
            return
        try:
            data = self.wire.receive()
        except OSError as error:
            self.why = f"the connection broke: {described(error)}"
            return
        if data is None:
            return
        answer = _answer(self._decoder, data)
        if answer is not None:
            self._hear(answer)
            self.why = "the certificate has come"
        elif not data:
            self.why = "the server closed the connection without an answer"

    def flush(self) -> bool:
        """Send what is left of the question; say whether some still is."""
        try:
            del self._unsent[: self.wire.send(self._unsent) if self._unsent else 0]
        except OSError as error:
            self.why = f"the connection broke: {described(error)}"
        return bool(self._unsent) and not self.why

    def patience(self) -> float:
        """Return the seconds until the server has taken too long."""
        return max(0.0, self._ends_at - time.monotonic())

    def keep_alive(self) -> None:
        """Notice that the server takes too long."""
        if not self.patience() and not self.why:
            self.why = f"the server gave no answer within {PATIENCE:g} s"

    def report(self, report: TicketReport) -> None:
        """Keep it: the next session begins with the inventory."""

    def finish(self, final: Final) -> None:
        """Keep it: the next session begins with the inventory."""

    def leave(self, reason: str) -> None:
        """End; nobody waits for a goodbye."""
        self.why = self.why or reason


def asked(connection: ssl.SSLSocket, question: Question, where: str) -> Certified:
    """Ask and wait for the answer, within the connection's timeout; raise `ConnectError`, `RefusedError`."""
    decoder = Decoder()
    answer: Optional[Certified] = None
    try:
        connection.sendall(frame_of(question))
        while answer is None:
            data = connection.recv(READ_BYTES)
            if not data:
                raise ConnectError(where, "the server closed the connection without an answer")
            answer = _answer(decoder, data)
    except RejectedError as error:
        raise RefusedError(error.code, error.text) from None
    except (ProtocolError, FrameError, MalformedError) as error:
        raise ConnectError(where, str(error)) from None
    except OSError as error:
        raise ConnectError(where, described(error)) from None
    return answer


def _answer(decoder: Decoder, data: bytes) -> Optional[Certified]:
    """Return the certificate if `data` completes it."""
    for frame in decoder.feed(data):
        message: Optional[Message] = message_of(frame.payload) if isinstance(frame, Control) else None
        if isinstance(message, Certified):
            return message
        if isinstance(message, Reject):
            raise RejectedError(message)
        if message is not None:
            raise ProtocolError(type(message).__name__, "CERTIFIED or REJECT")
    return None
