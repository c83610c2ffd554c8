"""A real built-in worker for tests: link, carrier and logs on a temporary directory, and a public record of the news."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from reconciler.execute.carriers import THIS_AGENT, BuiltinCarrier
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.protocol.journal import Kind
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import (
    Digest,
    Final,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
)

INTERPRETERS = {
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
    "sh": ("sh", "-e"),
    "python": ("python3", "-u"),
}
PATIENCE = 15.0  # seconds; a test that waits longer has failed


class News:
    """An intake that writes down what it is told."""

    def __init__(self) -> None:
        self.sessions: list[tuple[int, dict[TicketId, TicketReport]]] = []
        self.states: dict[TicketId, list[str]] = defaultdict(list)
        self.finals: dict[TicketId, list[Final]] = defaultdict(list)
        self.reasons: list[str] = []
        self._changed = asyncio.Event()

    async def connected(self, worker: str, session: Connected, address: str) -> None:
        self.sessions.append((session.epoch, dict(session.reports)))
        self._change()

    def owns(self, worker: str, ticket: TicketId) -> bool:
        return True

    async def reported(self, worker: str, report: TicketReport) -> None:
        self.states[report.ticket].append(type(report.state).__name__)
        self._change()

    async def finished(self, worker: str, final: Final) -> None:
        self.finals[final.ticket].append(final)
        self._change()

    async def disconnected(self, worker: str, reason: str) -> None:
        self.reasons.append(reason)
        self._change()

    async def logged(self, worker: str, ticket: TicketId, length: int) -> None:
        self._change()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for news after which `holds()` is true."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Worker:
    """One worker and everything that a test wants to look at."""

    def __init__(self, directory: Path, program: Sequence[str] = THIS_AGENT, **link: Any) -> None:
        self.directory = directory
        self.news = News()
        self.logs = LogStore(directory / "logs")
        self.carrier = BuiltinCarrier(directory / "agent", program)
        self.blobs = directory / "blobs"
        self.link = WorkerLink("builtin", self.carrier, self.logs, self.blobs, self.news, **link)

    def ticket_path(self, ticket: TicketId) -> Path:
        return self.directory / "agent" / "tickets" / ticket

    def begin(
        self, script: str, *, ticket: str = "t1", language: str = "bash", secrets: Secrets | None = None, **spec: Any
    ) -> TicketId:
        """Offer and start a script."""
        offer = specification(script, ticket, language, **spec)
        self.link.offer(offer)
        self.link.start(offer.ticket, secrets or Secrets())
        return offer.ticket

    async def final(self, ticket: TicketId) -> Final:
        await self.news.until(lambda: self.news.finals[ticket])
        return self.news.finals[ticket][0]

    async def run(self, script: str, **more: Any) -> Final:
        return await self.final(self.begin(script, **more))

    def text(self, ticket: TicketId | str = "t1", *kinds: Kind) -> str:
        wanted = kinds or (Kind.STDOUT, Kind.STDERR)
        records = self.logs.records(TicketId(ticket))
        return b"".join(record.data for _, record in records if record.kind in wanted).decode(errors="replace")


def specification(script: str, ticket: str = "t1", language: str = "bash", **spec: Any) -> TicketSpec:
    return TicketSpec(
        TicketId(ticket),
        spec.pop("interpreter", INTERPRETERS[language]),
        language,
        script,
        Digest(hashlib.sha256(script.encode()).hexdigest()),
        **spec,
    )


@asynccontextmanager
async def running(directory: Path, program: Sequence[str] = THIS_AGENT, **link: Any) -> AsyncIterator[Worker]:
    """Run a worker until the block ends; what its scripts left is the test's to end."""
    worker = Worker(directory, program, **link)
    task = asyncio.create_task(worker.link.run())
    try:
        await worker.news.until(lambda: worker.news.sessions)
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
