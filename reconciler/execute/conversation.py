"""One connection to an agent: frames in and out, logs acknowledged when durable, files both ways."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

from reconciler.execute.blobs import NoDigestError, pieces
from reconciler.execute.breaches import FOREIGN_FILE, FOREIGN_TICKET, LOG_TOO_LONG, MALFORMED
from reconciler.execute.carriers import Connection
from reconciler.execute.counts import Counts
from reconciler.execute.fetching import FETCH_PATIENCE, Fetching
from reconciler.execute.logs import LogGapError, LogNameError, LogStore, LogTooLongError
from reconciler.execute.wording import final_in_words, greeting_in_words, report_in_words, sentence
from reconciler.protocol import messages
from reconciler.protocol.frames import FileBytes, FrameError, LogBytes
from reconciler.protocol.messages import Message
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import SILENT_INTERVALS, Connected, Event, ProtocolError, ServerSession
from reconciler.protocol.tickets import Digest, Final, Lost, TicketId, TicketReport

PING_INTERVAL = 5.0  # seconds; three of them without a byte end the conversation
READ_BYTES = 64 << 10  # per turn of the loop: of the smallest messages that is some 10 ms of work
SETTLED_MAX = 1_000  # tickets whose log is complete, and of which some last piece may still be on its way
HANDSHAKE_SECONDS = 15.0  # an agent that was just started reads its tickets first


class ConversationEndedError(Exception):
    """The connection is of no further use; the sentence says why."""


class Listener(Protocol):
    """What a conversation tells the link, in order."""

    async def on_connected(self, event: Connected, say: Callable[[Message], None]) -> None:
        """Take the inventory; `say` sends messages while the conversation lasts."""

    async def on_report(self, report: TicketReport) -> None:
        """Take the state of one ticket."""

    async def on_finished(self, final: Final) -> None:
        """Take a final whose log and artifacts are stored."""

    async def on_logged(self, ticket: TicketId, length: int) -> None:
        """Take the durable length of a log."""

    async def on_renew(self, request: str) -> Message:
        """Take a request for a new certificate and return the answer."""

    def owns(self, ticket: TicketId) -> bool:
        """Is this a live attempt of this very worker? What a worker says of other tickets is nobody's business."""

    def log_bytes_max(self, ticket: TicketId) -> int:
        """Return how long the log of an attempt may be."""

    def may_fetch(self, digest: Digest) -> bool:
        """Is this the script of a ticket that was offered to this worker?"""

    def breach(self, kind: str, reason: str) -> None:
        """Take that the agent did what no honest one does; `reason` is a sentence, which it may have had a hand in."""


class Conversation:
    """The server's end of one connection, from HELLO to its end."""

    def __init__(
        self,
        connection: Connection,
        epoch_floor: int,
        listener: Listener,
        logs: LogStore,
        blobs: Path,
        *,
        counts: Counts | None = None,
        ping_interval: float = PING_INTERVAL,
        fetch_patience: float = FETCH_PATIENCE,
    ) -> None:
        self._counts = counts if counts is not None else Counts()
        self._reader, self._writer = connection.reader, connection.writer
        self._epoch_floor = epoch_floor
        self._session = connection.session or ServerSession(ping_interval)
        self._ping_interval = self._session.interval
        self._patience = max(HANDSHAKE_SECONDS, SILENT_INTERVALS * self._ping_interval)  # to hear something
        self._listener = listener
        self._logs = logs
        self._blobs = blobs
        self._tasks = asyncio.TaskGroup()
        self._finals: dict[TicketId, Final] = {}  # waiting for the rest of their log
        self._settling: set[TicketId] = set()
        self._settled: dict[TicketId, None] = {}  # in the order of time
        self._fetching = Fetching(blobs, self.say, listener.breach, fetch_patience)
        self._unacknowledged: set[TicketId] = set()
        self._log_grown = asyncio.Event()
        self._was_heard = False

    async def run(self) -> None:
        """Hold the conversation; it always ends with `ConversationEndedError`, in an exception group."""
        try:
            async with self._tasks:
                self._tasks.create_task(self._acknowledge())
                await self._read()
        except* OSError as group:
            raise ConversationEndedError(str(first_of(group))) from group
        except* LogTooLongError as group:
            self._breach(LOG_TOO_LONG, group)
        except* (FrameError, ProtocolError, MalformedError, LogNameError, NoDigestError) as group:
            self._breach(MALFORMED, group)
        finally:
            self._fetching.close()
            self._writer.close()

    def say(self, message: Message) -> None:
        """Send one message; what the agent has not yet read is bounded by the number of tickets.

        An offer waits until this turn of the loop is over, so that the RUN which mostly follows it travels along and
        the worker makes both durable at once.
        """
        self._session.send(message)
        if isinstance(message, messages.Offer):
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._flush()

    async def _read(self) -> None:
        if self._session.hello is not None:  # it was greeted before it came here
            self._session.welcome(self._epoch_floor)
            self._flush()
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                raise ConversationEndedError(f"nothing was heard from the agent for {self._patience:g} s") from None
            if not data:
                raise ConversationEndedError("the agent closed the connection")
            self._was_heard = True
            for event in self._session.receive(data):
                await self._on(event)
            self._flush()
            await self._drain()
            if len(data) == READ_BYTES:
                await asyncio.sleep(0)  # one that floods us lets others in

    async def _on(self, event: Event) -> None:
        match event:
            case LogBytes():
                self._on_log(event)
            case FileBytes():
                self._fetching.take(event)
            case messages.State(report):
                await self._listener.on_report(report_in_words(report))
            case messages.Finished(final):
                self._on_finished(final_in_words(final))
            case messages.Hello():
                self._session.welcome(self._epoch_floor)
            case Connected(hello):
                self._patience = SILENT_INTERVALS * self._ping_interval
                self._tasks.create_task(self._ping())
                await self._listener.on_connected(replace(event, hello=greeting_in_words(hello)), self.say)
            case _:
                await self._on_rare(event)

    async def _on_rare(self, event: Event) -> None:
        match event:
            case messages.Get():
                self._serve(event)
                self._flush()
                await self._drain()  # the answer is ten thousand times as long as the question
            case messages.Missing(digest, text):
                self._fetching.fail(digest, sentence(text))
            case messages.Ping(sent):
                self._counts.heartbeats += 1
                self._session.send(messages.Pong(sent))
            case messages.Renew(request):
                self.say(await self._listener.on_renew(request))
            case messages.Bye(reason):
                raise ConversationEndedError(f"the agent said goodbye: {sentence(reason)}")
            case _:
                pass  # a pong has done its work by arriving; the rest only a server says

    def _breach(self, kind: str, group: BaseExceptionGroup[BaseException]) -> NoReturn:
        reason = sentence(str(first_of(group)))
        self._listener.breach(kind, reason)
        raise ConversationEndedError(reason) from group

    # Logs.

    def _on_log(self, frame: LogBytes) -> None:
        if frame.ticket in self._settled or frame.ticket in self._settling or not self._is_ours(frame.ticket):
            return
        self._counts.log_bytes += len(frame.data)
        bytes_max = self._listener.log_bytes_max(frame.ticket)
        try:
            self._logs.append(frame.ticket, frame.offset, frame.data, bytes_max=bytes_max)
        except LogGapError as error:
            self._session.send(messages.Rewind(frame.ticket, error.length))
            return
        self._unacknowledged.add(frame.ticket)
        self._log_grown.set()
        self._settle_if_complete(frame.ticket)

    async def _acknowledge(self) -> None:
        while True:
            await self._log_grown.wait()
            self._log_grown.clear()
            batch = {each: self._logs.received(each) for each in self._unacknowledged.difference(self._settled)}
            self._unacknowledged.clear()
            for ticket, received in batch.items():  # one commit serves them all, however they grow meanwhile
                if ticket in self._settled:
                    continue
                length = await self._logs.durable(ticket, received)
                self.say(messages.LogAck(ticket, length))
                await self._listener.on_logged(ticket, length)

    def _is_ours(self, ticket: TicketId) -> bool:
        if self._listener.owns(ticket):
            return True
        self._listener.breach(FOREIGN_TICKET, foreign_ticket(ticket))
        return False

    # Endings.

    def _on_finished(self, final: Final) -> None:
        """Wait for the log of an attempt that ended; one that nobody waits for is dropped on the worker."""
        if not self._is_ours(final.ticket):
            self._session.send(messages.Forget(final.ticket))
        elif final.ticket not in self._settling:
            self._finals[final.ticket] = final
            self._settle_if_complete(final.ticket)

    def _settle_if_complete(self, ticket: TicketId) -> None:
        final = self._finals.get(ticket)
        if final is not None and self._logs.received(ticket) >= final.log_length:
            del self._finals[ticket]
            self._settling.add(ticket)
            self._tasks.create_task(self._settle(final))

    async def _settle(self, final: Final) -> None:
        """Pass `final` on once its log is verified and durable and its artifacts are blobs."""
        ticket, told = final.ticket, final
        final = await self._as_held(told)
        if self._logs.received(ticket) != final.log_length or await self._logs.digest(ticket) != final.log_digest:
            self._logs.rewind(ticket)
            self._settling.discard(ticket)
            self._finals[ticket] = told
            self.say(messages.Rewind(ticket, 0))
            return
        length = await self._logs.durable(ticket)
        stored, notes = await self._fetching.store(final.artifacts, ticket)
        self._settled[ticket] = None
        if len(self._settled) > SETTLED_MAX:
            del self._settled[next(iter(self._settled))]
        self._logs.close(ticket)
        if length:
            await self._listener.on_logged(ticket, length)
        if len(stored) < len(final.artifacts):
            final = replace(final, artifacts=tuple(stored), message=" ".join(filter(None, (final.message, *notes))))
        await self._listener.on_finished(final)

    async def _as_held(self, final: Final) -> Final:
        """Keep all that is held of a lost attempt's log: a power cut may have left less than that on the worker."""
        length = self._logs.received(final.ticket)
        if not isinstance(final.ending, Lost) or length <= final.log_length:
            return final
        return replace(final, log_length=length, log_digest=await self._logs.digest(final.ticket))

    # Files.

    def _serve(self, get: messages.Get) -> None:
        if not self._listener.may_fetch(get.digest):
            self._listener.breach(
                FOREIGN_FILE,
                f"it asked for the file {get.digest!r}, which is no script of an attempt that it was given",
            )
            self._session.send(
                messages.Missing(get.digest, "it is no script of a ticket that was offered to this worker")
            )
            return
        try:
            for piece in pieces(self._blobs, get):
                self._session.send_data(piece)
        except OSError as error:
            self._session.send(messages.Missing(get.digest, f"the server cannot read it: {error.strerror}"))

    # Life.

    async def _ping(self) -> None:
        """Ask for a sign of life where none came by itself: the answers to an agent's own pings are enough for it."""
        while True:
            self._was_heard = False
            await asyncio.sleep(self._ping_interval)
            if not self._was_heard:
                self.say(messages.Ping(time.monotonic()))

    async def _drain(self) -> None:
        """Wait until the agent has read most of what was said, so that one who does not read holds little memory."""
        if not self._writer.transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._writer.drain()
        except TimeoutError:
            raise ConversationEndedError(f"the agent read nothing for {self._patience:g} s") from None

    def _flush(self) -> None:
        data = self._session.outgoing()
        if data and not self._writer.is_closing():
            self._writer.write(data)


def foreign_ticket(ticket: TicketId) -> str:
    """Say that a worker spoke of an attempt that is none of its own."""
    return f"it spoke of the attempt {ticket!r}, which it was not given, or which was forgotten"


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what began it all."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
