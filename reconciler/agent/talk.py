"""The agent's loop: one connection to the server, every shim, one thread, one selector."""

from __future__ import annotations

import hashlib
import os
import selectors
import socket
import time
from dataclasses import dataclass, field, replace
from typing import Optional, Union

from reconciler.agent import memory as memories
from reconciler.agent.custody import Custody
from reconciler.agent.memory import Memory
from reconciler.agent.nursery import Nursery
from reconciler.agent.processes import boot_id
from reconciler.protocol import messages
from reconciler.protocol.frames import FileBytes, cut
from reconciler.protocol.session import SILENT_INTERVALS, AgentSession, Event
from reconciler.protocol.tickets import Declined, Digest, Ended, Final, TicketReport, TicketSpec

READ_BYTES = 64 << 10
UNSENT_BYTES = 256 << 10  # of log and control in our own buffer; more is read from disk when this has gone
SCRIPT_BYTES_MAX = 16 << 20  # a script that travels by digest is held in memory until it is complete


Verb = Union[messages.Run, messages.Cancel, messages.Void, messages.Forget]


@dataclass
class _Download:
    """A script on its way in, and what was said meanwhile of the tickets that wait for it."""

    data: bytearray = field(default_factory=bytearray)
    specs: list[TicketSpec] = field(default_factory=list)
    said: list[Verb] = field(default_factory=list)


class Talk:
    """One connection from HELLO to its end; the tickets outlive it."""

    def __init__(self, state: str, memory: Memory, nursery: Nursery, connection: socket.socket) -> None:
        self._state = state
        self._memory = memory
        self._connection = connection
        self._selector = selectors.DefaultSelector()
        self._custody = Custody(state, nursery, self._selector, report=self._report, finish=self._finish)
        self._session = AgentSession(
            messages.Hello(
                versions=(messages.PROTOCOL_VERSION,),
                store=memory.store,
                boot=boot_id(),
                incarnation=memory.incarnation,
                epoch=memory.epoch,
                capabilities={"system": os.uname().sysname, "machine": os.uname().machine},
            )
        )
        self._unsent = bytearray()
        self._downloads: dict[Digest, _Download] = {}
        self._heard_at = self._pinged_at = time.monotonic()
        self._is_over = False

    def run(self) -> None:
        """Serve until the server is gone; raise `RejectedError`, `ProtocolError`, `FrameError`, `MalformedError`."""
        self._custody.take_inventory()
        self._connection.setblocking(False)
        self._selector.register(self._connection, selectors.EVENT_READ, self._receive)
        while not self._is_over:
            self._send()
            for key, events in self._selector.select(self._patience()):
                if events & selectors.EVENT_READ:
                    key.data()
            self._custody.look_again()
            self._keep_alive()

    def _receive(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._is_over = True
            return
        self._heard_at = time.monotonic()
        for event in self._session.receive(data):
            self._on(event)
        self._custody.accept()

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
        elif isinstance(event, messages.Bye):
            self._is_over = True

    def _on_welcome(self, welcome: messages.HelloOk) -> None:
        memories.keep(self._state, replace(self._memory, epoch=welcome.epoch))
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
            self._report(TicketReport(spec.ticket, Declined(reason)))

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

    def _report(self, report: TicketReport) -> None:
        if self._session.epoch is not None and not isinstance(report.state, Ended):
            self._session.send(messages.State(report))
        elif isinstance(report.state, Ended):
            self._finish(report.state.final)

    def _finish(self, final: Final) -> None:
        if self._session.epoch is not None:
            self._session.send(messages.Finished(final))

    # Sending and time.

    def _send(self) -> None:
        """Send control first, then journals in turn, until the server takes no more for now."""
        while True:
            self._unsent += self._session.outgoing()
            while len(self._unsent) < UNSENT_BYTES:
                piece = self._custody.next_piece()
                if piece is None:
                    break
                self._session.send_data(piece)
                self._unsent += self._session.outgoing()
            if not self._unsent:
                break
            try:
                del self._unsent[: self._connection.send(self._unsent)]
            except BlockingIOError:
                break
            except OSError:
                self._is_over = True
                return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self._connection).events != events:
            self._selector.modify(self._connection, events, self._receive)

    def _patience(self) -> float:
        until_ping = self._pinged_at + self._session.interval - time.monotonic()
        look_again: Optional[float] = self._custody.patience()
        return max(0.0, until_ping if look_again is None else min(until_ping, look_again))

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._heard_at > SILENT_INTERVALS * self._session.interval:
            self._is_over = True
        if now - self._pinged_at >= self._session.interval and self._session.epoch is not None:
            self._pinged_at = now
            free = os.statvfs(self._state)
            self._session.send(messages.Ping(now, free.f_bavail * free.f_frsize, os.getloadavg()[0]))
