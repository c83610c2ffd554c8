"""The door for agents that call (port 10943): connections are shed, greeted, judged, and given to their worker's link.

A connection costs memory from its TLS object on, so those that have not said who they are are few: when one more comes,
the oldest of the most crowded source goes. A peer that shakes hands as agents do is through in milliseconds.
"""

import asyncio
import socket
import ssl
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.execute.carriers import STREAM_BYTES_MAX, Connection
from reconciler.execute.counts import Counts
from reconciler.execute.dialling import keep_alive
from reconciler.execute.peers import Peer, peer_of, say_and_close
from reconciler.protocol import messages
from reconciler.protocol.frames import FrameError
from reconciler.protocol.identity import CertificateError
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, ServerSession

UNFINISHED_MAX = 256
"""Connections that have not said who they are; each holds some 60 KiB once its TLS object is made."""

GREETING_SECONDS = 10.0
"""From the connection to the whole greeting."""

BACKLOG = 1024
"""Connections that wait in the kernel: all agents call at once when a server comes back."""

READ_BYTES = 16 << 10

HELD_BYTES_MAX = 32 << 10
"""What TLS reads ahead for a caller while nobody listens to it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The peer is this worker."""

    worker: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The peer is refused, in the words of a REJECT."""

    code: str
    text: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class Issued:
    """The peer wanted a certificate, and here it is."""

    certified: messages.Certified


Greeting = messages.Hello | messages.Enrol | messages.Renew
Verdict = Admitted | Refusal | Issued


class Doorkeeper(Protocol):
    """Judges who calls."""

    async def judge(self, peer: Peer | None, greeting: Greeting, address: str) -> Verdict:
        """Decide on a peer by its certificate (None without one) and its first message."""

    async def deliver(self, worker: str, connection: Connection) -> Refusal | None:
        """Give the connection of an admitted worker to its link, or refuse it after all."""


@dataclass(eq=False, slots=True)
class _Caller:
    """A connection that has not said who it is."""

    source: str
    task: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class _Crowd:
    """Those at the door, oldest first, by source."""

    callers: dict[str, list[_Caller]] = field(default_factory=dict)
    count: int = 0

    def add(self, caller: _Caller) -> None:
        self.callers.setdefault(caller.source, []).append(caller)
        self.count += 1

    def remove(self, caller: _Caller) -> None:
        here = self.callers.get(caller.source, [])
        if caller in here:
            here.remove(caller)
            self.count -= 1
            if not here:
                del self.callers[caller.source]

    def oldest_of_the_largest(self) -> _Caller:
        return max(self.callers.values(), key=len)[0]


class AgentListener:
    """Listens for agents at `host:port`; `context` is asked at each connection, so that new keys are used at once."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        doorkeeper: Doorkeeper,
        counts: Counts,
        *,
        ping_interval: Callable[[], float],
        unfinished_max: int = UNFINISHED_MAX,
        greeting_seconds: float = GREETING_SECONDS,
    ) -> None:
        self._context = context
        self._doorkeeper = doorkeeper
        self._counts = counts
        self._ping_interval = ping_interval
        self._unfinished_max = unfinished_max
        self._greeting_seconds = greeting_seconds
        self._crowd = _Crowd()

    async def run(self, listening: socket.socket) -> None:
        """Take calls on a bound socket until cancelled."""
        listening.setblocking(False)
        listening.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as callers:
            try:
                while True:
                    connection, address = await _accepted(loop, listening)
                    self._make_room()
                    caller = _Caller(str(address[0]))
                    self._crowd.add(caller)
                    caller.task = callers.create_task(self._answer(caller, connection))
            finally:
                listening.close()

    def _make_room(self) -> None:
        if self._crowd.count >= self._unfinished_max:
            victim = self._crowd.oldest_of_the_largest()
            self._crowd.remove(victim)
            self._counts.shed += 1
            if victim.task is not None:
                victim.task.cancel()

    async def _answer(self, caller: _Caller, accepted: socket.socket) -> None:
        """Bring one caller from its first byte to its link; whatever it does wrong ends it alone."""
        try:
            await self._bring_in(caller, accepted)
        except TimeoutError:
            self._counts.rejects["slow"] += 1
        except ssl.SSLError as error:
            traceback.clear_frames(error.__traceback__)  # asyncio's hold the error, and with it the TLS object
            self._counts.failed_handshakes += 1
        except (FrameError, ProtocolError, MalformedError, CertificateError):
            self._counts.rejects["malformed"] += 1
        except OSError:
            pass  # it went away by itself
        finally:
            self._crowd.remove(caller)
            caller.task = None  # no cycle: its TLS object goes at once, not when the collector comes by

    async def _bring_in(self, caller: _Caller, accepted: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        handed_over = False
        try:
            async with asyncio.timeout(self._greeting_seconds):
                keep_alive(accepted)
                reader, writer = await self._encrypted(accepted)
                self._counts.handshakes += 1
                session = ServerSession(self._ping_interval())
                peer = peer_of(writer)
                greeting = await _greeting(reader, session)
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a TLS transport reads, too
            verdict = await self._doorkeeper.judge(peer, greeting, caller.source)
            if isinstance(verdict, Admitted):
                assert peer is not None, "only a certificate names a worker"
                connection = Connection(reader, writer, session, peer.thumbprint, caller.source)
                refusal = await self._doorkeeper.deliver(verdict.worker, connection)
                if refusal is None:
                    handed_over = True
                    writer.transport.resume_reading()  # type: ignore[attr-defined]  # a TLS transport reads, too
                verdict = refusal or verdict
            if not handed_over:
                await self._dismiss(session, writer, verdict)
        finally:
            if not handed_over and writer is not None:
                writer.transport.abort()

    async def _encrypted(self, accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Shake hands; the TLS object is made when the first byte is there, not before."""
        loop = asyncio.get_running_loop()
        try:
            if not await _first_byte(loop, accepted):
                raise ConnectionResetError
        except BaseException:
            accepted.close()
            raise
        reader = asyncio.StreamReader(limit=STREAM_BYTES_MAX)
        shaking = asyncio.ensure_future(
            loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader),
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=self._greeting_seconds,
            )
        )
        try:
            transport, protocol = await asyncio.shield(shaking)
        except asyncio.CancelledError:
            shaking.add_done_callback(_abandon)
            with suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)  # from here on it is asyncio's to close, which this makes it do
            raise
        transport.set_read_buffer_limits(high=HELD_BYTES_MAX)  # type: ignore[attr-defined]  # as one under TLS has them
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _dismiss(self, session: ServerSession, writer: asyncio.StreamWriter, verdict: Verdict) -> None:
        match verdict:
            case Refusal(code, text, retry_after):
                self._counts.rejects[code] += 1
                session.reject(code, text, retry_after)
            case Issued(certified):
                session.send(certified)
        await say_and_close(writer, session.outgoing())


async def _accepted(loop: asyncio.AbstractEventLoop, listening: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
    """Wait for a caller; where the machine has no descriptor left, wait for that."""
    while True:
        try:
            accepted, address = listening.accept()
        except BlockingIOError:
            await _readable(loop, listening)
        except OSError:  # EMFILE, ENFILE, ENOBUFS, or a caller that has gone again
            await asyncio.sleep(0.1)
        else:
            accepted.setblocking(False)
            await asyncio.sleep(0)  # however many call, others have their turn
            return accepted, address


async def _first_byte(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> bool:
    """Wait until a peer has said something; False where it closed."""
    while True:
        try:
            return bool(accepted.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            await _readable(loop, accepted)


async def _readable(loop: asyncio.AbstractEventLoop, waiting: socket.socket) -> None:
    """Wait until something can be read from a socket."""
    readable = loop.create_future()
    loop.add_reader(waiting, _wake, readable)
    try:
        await readable
    finally:
        loop.remove_reader(waiting)


def _wake(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def _abandon(shaking: "asyncio.Future[tuple[asyncio.Transport, asyncio.StreamReaderProtocol]]") -> None:
    """Let go of a handshake that nobody waits for any more."""
    if shaking.cancelled():
        return
    if error := shaking.exception():
        traceback.clear_frames(error.__traceback__)
    else:
        shaking.result()[0].abort()


async def _greeting(reader: asyncio.StreamReader, session: ServerSession) -> Greeting:
    """Read the first message; raises ConnectionResetError where the peer goes away before it."""
    while True:
        data = await reader.read(READ_BYTES)
        if not data:
            raise ConnectionResetError
        for event in session.receive(data):
            assert isinstance(event, messages.Hello | messages.Enrol | messages.Renew), (
                "a session begins with a greeting"
            )
            return event
