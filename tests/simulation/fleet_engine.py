"""The server's end of a fleet: dispatcher, a link for each worker, the watch over drains and the auditor; engines come and go."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

from reconciler.execute.auditing import audit_claims
from reconciler.execute.carriers import Carrier, CarrierError, Connection
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.draining import look_after_drains, look_at_drains
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.watching import Unwatched
from reconciler.server.engine.engine import _nobody_is_connected
from reconciler.server.engine.leading import Lead
from reconciler.server.engine.settling import settle_in
from reconciler.store import attempts, worker_status
from tests.simulation.fleet_store import NodeStore
from tests.simulation.network import Line
from tests.simulation.server_end import KEY, EngineStore
from tests.simulation.still_time import StillLoop

PING_INTERVAL = 8.0
"""Seconds; each end takes the other for dead after three of them."""


class DiallingCarrier:
    """A worker whose agent listens: whoever conducts the world answers what is dialled."""

    def __init__(self, loop: StillLoop) -> None:
        self._loop = loop
        self.dialled: asyncio.Future[Connection] | None = None
        """Present while somebody waits for an answer."""
        self._current: Connection | None = None

    async def open(self) -> Connection:
        """Dial; raise `CarrierError`."""
        await self.close()
        self.dialled = self._loop.create_future()
        try:
            self._current = await self.dialled
        finally:
            self.dialled = None
        return self._current

    async def close(self) -> None:
        """Close the stream; the agent keeps its tickets."""
        if self._current is not None:
            self._current.writer.transport.abort()
            self._current = None

    def answer(self, worker: str, line: Line | None) -> None:
        """Give who dials a line, or nothing."""
        assert self.dialled is not None
        if line is None:
            self.dialled.set_exception(CarrierError(worker, "it cannot be reached"))
        else:
            self.dialled.set_result(connection_on(line))


class Engine:
    """One life of the server's end; one of several nodes has the `lead`."""

    def __init__(
        self,
        store: EngineStore | NodeStore,
        logs: Path,
        loop: StillLoop,
        workers: Collection[str],
        *,
        dialled: Collection[str] = (),
        lead: Lead | None = None,
    ) -> None:
        self.store = store
        self.lead, self.sealer = lead, KEY
        self._loop = loop
        self._carriers: Mapping[str, Carrier] = {
            worker: DiallingCarrier(loop) if worker in dialled else PollingCarrier() for worker in workers
        }
        node_files = lead.node.files if lead is not None else ""
        self.grounds = Grounds(
            *(store, LogStore(logs), logs.parent, logs.parent, KEY, Unwatched()), node_files=node_files
        )
        self.dispatcher = Dispatcher(self.grounds)
        self._life = loop.create_task(self._live())

    async def _live(self) -> None:
        store = self.store
        await store.write(_nobody_is_connected)
        if self.lead is not None:
            await settle_in(self)
        for worker, carrier in self._carriers.items():
            self.grounds.links[worker] = await self._link(worker, carrier)
        await self.dispatcher.resume()
        await look_at_drains(store, self.dispatcher)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.run())
            group.create_task(audit_claims(store))
            group.create_task(look_after_drains(store, self.dispatcher))
            if self.lead is not None:
                group.create_task(self.lead.lost())
            for link in self.grounds.links.values():
                group.create_task(link.run())

    async def _link(self, worker: str, carrier: Carrier) -> WorkerLink:
        epoch, last = await self.grounds.store.read(
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
        carrier = self._carriers[worker]
        assert isinstance(carrier, PollingCarrier)
        carrier.take(connection_on(line))

    @property
    def dials(self) -> dict[str, DiallingCarrier]:
        """The workers that are dialled just now."""
        return {
            worker: carrier
            for worker, carrier in self._carriers.items()
            if isinstance(carrier, DiallingCarrier) and carrier.dialled is not None and not carrier.dialled.done()
        }

    @property
    def failure(self) -> BaseException | None:
        """What ended this engine without anybody having killed it; None while it lives."""
        return self._life.exception() if self._life.done() else None

    @property
    def wishes(self) -> dict[str, list[str]]:
        """What is still wanted of the workers' tickets."""
        found = {worker: sorted(link._desires) for worker, link in self.grounds.links.items()}
        return {worker: tickets for worker, tickets in found.items() if tickets}

    def stop(self) -> "set[asyncio.Task[object]]":
        """Cancel every task of this life and return them; what they have given to the store is still written."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        return left

    async def die(self) -> None:
        """End everything of this life; nothing that it still does has any effect."""
        self.store.is_dead = True
        self._loop.jobs.clear()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._loop.jobs.clear()
        for ticket in list(self.grounds.logs._open):
            self.grounds.logs.close(ticket)


def connection_on(line: Line) -> Connection:
    """Return a line as carriers do."""
    return Connection(line.reader, line.pen, address="10.0.0.5")
