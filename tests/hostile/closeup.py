"""One session seen from close by: a link to the worker `w2` in this process, whose agent's every byte is the test's."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.execute.breaches import Breaches
from reconciler.execute.carriers import Connection
from reconciler.execute.conversation import Conversation, ConversationEndedError, first_of
from reconciler.execute.counts import Counts
from reconciler.execute.fetching import FETCH_PATIENCE
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.watching import Breached, Sighting
from reconciler.protocol import messages
from reconciler.protocol.tickets import Digest, OutputLimit, TicketId, TicketSpec
from tests.agent.worker import News
from tests.hostile.intruder import Line, hello

OURS = TicketId("ours")


class OneTicket(News):
    """An intake to which one attempt on this worker is known."""

    def owns(self, worker: str, ticket: TicketId) -> bool:
        return ticket == OURS


@dataclass(slots=True)
class Lines:
    """A watcher that keeps what is told of breaches."""

    told: list[Breached] = field(default_factory=list)

    def see(self, sighting: Sighting) -> None:
        assert isinstance(sighting, Breached)
        self.told.append(sighting)


@dataclass(slots=True)
class Closeup:
    """A session's two ends, and what the server's makes of it."""

    line: Line
    session: "asyncio.Task[str]"
    news: OneTicket
    logs: LogStore
    blobs: Path
    counts: Counts
    lines: Lines


@asynccontextmanager
async def closeup(
    folder: Path, limit: OutputLimit | None = None, fetch_patience: float = FETCH_PATIENCE
) -> AsyncIterator[Closeup]:
    """Give a session that stands, in which the attempt `ours` runs with an output limit."""
    ours, theirs = socket.socketpair()
    counts, lines, news, logs, blobs = Counts(), Lines(), OneTicket(), LogStore(folder / "logs"), folder / "blobs"
    link = WorkerLink("w2", PollingCarrier(), logs, blobs, news, counts=counts, breaches=Breaches(counts, lines))
    link.expect(TicketSpec(OURS, ("sh",), "sh", "", Digest(""), output_limit=limit))
    connection = Connection(*await asyncio.open_connection(sock=ours))
    conversation = Conversation(connection, 0, link, logs, blobs, counts=counts, fetch_patience=fetch_patience)
    line = Line(*await asyncio.open_connection(sock=theirs))
    session = asyncio.create_task(_ended(conversation))
    line.say(hello())
    await line.hear(messages.HelloOk)
    line.say(messages.Inventory((), last=True))
    try:
        yield Closeup(line, session, news, logs, blobs, counts, lines)
    finally:
        line.cut()
        await session


async def until_heard(seen: Closeup) -> None:
    """Wait until everything that was said has been heard."""
    seen.line.say(messages.Ping(1.0))
    await seen.line.hear(messages.Pong)


async def _ended(conversation: Conversation) -> str:
    """Hold a conversation, and return why it ended."""
    reason = ""
    try:
        await conversation.run()
    except* ConversationEndedError as group:
        reason = str(first_of(group))
    assert reason, "a conversation ends with a sentence"
    return reason
