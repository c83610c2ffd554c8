"""The server's end of a fleet: dispatcher, a link for each worker, the watch over drains and the auditor; engines come and go."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from reconciler.execute.auditing import audit_claims
from reconciler.execute.carriers import Connection
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.draining import look_after_drains, look_at_drains
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.watching import Unwatched
from reconciler.server.engine.engine import _nobody_is_connected
from reconciler.store import attempts, worker_status
from tests.simulation.fleet_books import Books
from tests.simulation.network import Line
from tests.simulation.server_end import KEY, EngineStore
from tests.simulation.still_time import StillLoop

PING_INTERVAL = 8.0
"""Seconds; each end takes the other for dead after three of them."""


class Engine:
    """One life of the server's end."""

    def __init__(self, books: Books, logs: Path, loop: StillLoop, workers: Collection[str]) -> None:
        self._store = EngineStore(books, loop)
        self._loop = loop
        self._carriers = {worker: PollingCarrier() for worker in workers}
        self.grounds = Grounds(self._store, LogStore(logs), logs.parent, logs.parent, KEY, Unwatched())
        self.dispatcher = Dispatcher(self.grounds)
        self._life = loop.create_task(self._live())

    async def _live(self) -> None:
        await self._store.write(_nobody_is_connected)
        for worker, carrier in self._carriers.items():
            self.grounds.links[worker] = await self._link(worker, carrier)
        await self.dispatcher.resume()
        await look_at_drains(self._store, self.dispatcher)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.run())
            group.create_task(audit_claims(self._store))
            group.create_task(look_after_drains(self._store, self.dispatcher))
            for link in self.grounds.links.values():
                group.create_task(link.run())

    async def _link(self, worker: str, carrier: PollingCarrier) -> WorkerLink:
        epoch, last = await self._store.read(
            lambda tx: (attempts.worker_epoch(tx, worker), worker_status.status(tx, worker))
        )
        return WorkerLink(
            *(worker, carrier, self.grounds.logs, self.grounds.blobs, self.dispatcher),
            epoch_floor=epoch,
            store=last.seen.store if last is not None and last.seen is not None else "",
            ping_interval=PING_INTERVAL,
        )

    def take(self, worker: str, line: Line) -> None:
        """Take a call of an agent."""
        self._carriers[worker].take(Connection(line.reader, line.pen, address="10.0.0.5"))

    def raise_failure(self) -> None:
        """Raise what ended this engine without anybody having killed it."""
        if self._life.done():
            self._life.result()

    @property
    def wishes(self) -> dict[str, list[str]]:
        """What is still wanted of the workers' tickets."""
        found = {worker: sorted(link._desires) for worker, link in self.grounds.links.items()}
        return {worker: tickets for worker, tickets in found.items() if tickets}

    async def die(self) -> None:
        """End everything of this life; nothing that it still does has any effect."""
        self._store.is_dead = True
        self._loop.jobs.clear()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._loop.jobs.clear()
        for ticket in list(self.grounds.logs._open):
            self.grounds.logs.close(ticket)
