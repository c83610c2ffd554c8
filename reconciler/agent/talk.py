"""One connection to the server, from HELLO to its end: what it says is done, what happens is told; tickets outlive it."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import Callable, Union

from reconciler.agent import silence
from reconciler.agent.custody import Custody
from reconciler.agent.faults import described
from reconciler.agent.wire import Wire
from reconciler.protocol import messages
from reconciler.protocol.frames import FileBytes, cut
from reconciler.protocol.session import SILENT_INTERVALS, AgentSession, Event
from reconciler.protocol.tickets import Declined, Digest, Ended, Final, TicketReport, TicketSpec

CLOSED_UNGREETED = (
    "the server closed the connection before it took the session; it may not know this agent's certificate: "
    "look at its log, and enrol again if it lost its authority"
)
UNSENT_BYTES = 256 << 10  # of log and control in our own buffer; more is read from disk when this has gone
TURN_BYTES = 512 << 10  # sent before the loop looks again at what came: fifty logs have windows for 200 MB
SCRIPT_BYTES_MAX = 16 << 20  # a script that travels by digest is held in memory until it is complete


Verb = Union[messages.Run, messages.Cancel, messages.Void, messages.Forget]


@dataclass
class _Download:
    """A script on its way in, and what was said meanwhile of the tickets that wait for it."""

    data: bytearray = field(default_factory=bytearray)
    specs: list[TicketSpec] = field(default_factory=list)
    said: list[Verb] = field(default_factory=list)


Word = Union[messages.HelloOk, messages.Config, messages.Certified]
"""What concerns the agent itself and not its tickets."""


class Talk:
    """One connection; `hear` is told what the server says of the agent itself."""

    def __init__(
        self, state: str, wire: Wire, custody: Custody, hello: messages.Hello, hear: Callable[[Word], None]
    ) -> None:
        self.wire = wire
        self.why = ""
        """Why it is over, a sentence; empty as long as it stands."""
        self._state = state
        self._custody = custody
        self._session = AgentSession(hello)
        self._hear = hear
        self._unsent = bytearray()
        self._downloads: dict[Digest, _Download] = {}
        self._heard_at = self._pinged_at = time.monotonic()
        self._greeted_at = silence.now()

    @property
    def stands(self) -> bool:
        """Say whether the server has taken the session."""
        return self._session.epoch is not None

    def receive(self) -> None:
        """Do what the server says; raise `RejectedError`, `ProtocolError`, `FrameError`, `MalformedError`."""
        if self.why:
            return
        try:
            data = self.wire.receive()
        except OSError as error:
            self.why = f"the connection broke: {described(error)}"
            return
        if data is None:
            return
        if not data:
            self.why = "the server closed the connection" if self.stands else CLOSED_UNGREETED
            return
        self._heard_at = time.monotonic()
        for event in self._session.receive(data):
            self._on(event)
        self._custody.accept()

    def ask(self, question: messages.Renew) -> None:
        """Ask for a certificate; the answer comes to `hear`."""
        self._session.send(question)

    def leave(self, reason: str) -> None:
        """Say goodbye, as far as the server takes it without delay."""
        if not self.why:
            self._session.send(messages.Bye(reason))
            self.flush()
            self.why = reason

    def _on(self, event: Event) -> None:
        if isinstance(event, messages.HelloOk):
            self._on_welcome(event)
        elif isinstance(event, messages.Offer):
            self._on_offer(event.spec)
        elif isinstance(event, (messages.Run, messages.Cancel, messages.Void, messages.Forget)):
            self._on_verb(event)
        elif isinstance(event, messages.LogAck):
            self._custody.acknowledge(event.ticket, event.offset)
        elif isinstance(event, messages.Rewind):
            self._custody.rewind(event.ticket, event.offset)
        elif isinstance(event, FileBytes):
            self._on_file(event)
        else:
            self._on_rare(event)

    def _on_verb(self, verb: Verb) -> None:
        for download in self._downloads.values():
            if any(spec.ticket == verb.ticket for spec in download.specs):
                download.said.append(verb)
                return
        if isinstance(verb, messages.Run):
            self._custody.run(verb.ticket, verb.secrets)
        elif isinstance(verb, messages.Cancel):
            self._custody.cancel(verb.ticket, verb.grace)
        elif isinstance(verb, messages.Void):
            self._custody.void(verb.ticket)
        else:
            self._custody.forget(verb.ticket)

    def _on_rare(self, event: Event) -> None:
        if isinstance(event, messages.Get):
            self._serve(event)
        elif isinstance(event, messages.Missing):
            self._on_missing(event)
        elif isinstance(event, messages.Ping):
            self._session.send(messages.Pong(event.sent))
        elif isinstance(event, messages.Pong):
            self._custody.heard(event.sent, self._session.interval)
        elif isinstance(event, messages.Bye):
            self.why = f"the server said goodbye: {event.reason}"
        elif isinstance(event, (messages.Config, messages.Certified)):
            self._hear(event)

    def _on_welcome(self, welcome: messages.HelloOk) -> None:
        self._hear(welcome)
        self._custody.heard(self._greeted_at, self._session.interval)
        self._session.send_inventory(self._custody.reports())
        for final in self._custody.finals():
            self._session.send(messages.Finished(final))

    # Scripts come, artifacts go.

    def _on_offer(self, spec: TicketSpec) -> None:
        if spec.script is not None:
            self._custody.offer(spec, None)
            return
        download = self._downloads.setdefault(spec.script_digest, _Download())
        download.specs.append(spec)
        if len(download.specs) == 1:
            self._session.send(messages.Get(spec.script_digest, 0, messages.PIECE_BYTES_MAX))

    def _on_file(self, frame: FileBytes) -> None:
        download = self._downloads.get(frame.digest)
        if download is None or frame.offset != len(download.data):
            return
        download.data += frame.data
        if len(download.data) > SCRIPT_BYTES_MAX:
            self._refuse(frame.digest, f"its script is longer than {SCRIPT_BYTES_MAX >> 20} MiB")
        elif frame.last:
            if hashlib.sha256(download.data).hexdigest() != frame.digest:
                self._refuse(frame.digest, "its script is not what its digest says")
                return
            del self._downloads[frame.digest]
            for spec in download.specs:
                self._custody.offer(spec, bytes(download.data))
            for verb in download.said:
                self._on_verb(verb)
        elif len(download.data) % messages.PIECE_BYTES_MAX == 0:
            self._session.send(messages.Get(frame.digest, len(download.data), messages.PIECE_BYTES_MAX))

    def _on_missing(self, missing: messages.Missing) -> None:
        if missing.digest in self._downloads:
            self._refuse(missing.digest, f"its script cannot be fetched: {missing.text}")

    def _refuse(self, digest: Digest, reason: str) -> None:
        for spec in self._downloads.pop(digest).specs:
            self.report(TicketReport(spec.ticket, Declined(reason)))

    def _serve(self, get: messages.Get) -> None:
        path = self._custody.artifact_path(get.ticket, get.digest)
        try:
            if path is None:
                raise FileNotFoundError
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(get.offset)
                data = file.read(min(get.length, messages.PIECE_BYTES_MAX))
        except OSError as error:
            text = f"the worker cannot read it: {error.strerror or 'the ticket is not there'}"
            self._session.send(messages.Missing(get.digest, text))
            return
        for frame in cut(get.digest, get.offset, data, size):
            self._session.send_data(frame)

    # News.

    def report(self, report: TicketReport) -> None:
        """Tell how a ticket is."""
        if self.stands and not isinstance(report.state, Ended):
            self._session.send(messages.State(report))
        elif isinstance(report.state, Ended):
            self.finish(report.state.final)

    def finish(self, final: Final) -> None:
        """Tell how a ticket ended."""
        if self.stands:
            self._session.send(messages.Finished(final))

    # Sending and time.

    def flush(self) -> bool:
        """Send control first, then journals in turn, as much as the server takes and a turn may; say whether some is left."""
        sent = 0
        while not self.why and sent < TURN_BYTES:
            self._unsent += self._session.outgoing()
            while len(self._unsent) < UNSENT_BYTES:
                piece = self._custody.next_piece()
                if piece is None:
                    break
                self._session.send_data(piece)
                self._unsent += self._session.outgoing()
            if not self._unsent:
                return False
            try:
                taken = self.wire.send(self._unsent)
            except OSError as error:
                self.why = f"the connection broke: {described(error)}"
                return False
            if not taken:
                return True
            del self._unsent[:taken]
            sent += taken
        return not self.why

    def patience(self) -> float:
        """Return the seconds until `keep_alive` has something to do."""
        return max(0.0, self._pinged_at + self._session.interval - time.monotonic())

    def keep_alive(self) -> None:
        """Ping when it is time, and notice that the server has fallen silent."""
        now = time.monotonic()
        silent = SILENT_INTERVALS * self._session.interval
        if now - self._heard_at > silent and not self.why:
            self.why = f"the server was silent for {silent:g} s"
        if now - self._pinged_at >= self._session.interval:
            self._pinged_at = now
            if self.stands:
                free = os.statvfs(self._state)
                self._session.send(messages.Ping(silence.now(), free.f_bavail * free.f_frsize, os.getloadavg()[0]))
