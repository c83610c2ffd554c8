"""The engine: one per data directory, it owns the store, runs what is queued and answers on the control socket."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.execute.auditing import audit_claims
from reconciler.execute.blobs import drop_old_partials
from reconciler.execute.carriers import BuiltinCarrier
from reconciler.execute.counts import Counts
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.draining import look_after_drains, look_at_drains
from reconciler.execute.grounds import BuiltinRules, Grounds, LiveFleet, space_in
from reconciler.execute.leasing import Leasing
from reconciler.execute.link import WorkerLink
from reconciler.execute.listener import AgentListener
from reconciler.execute.logs import LogStore
from reconciler.execute.secrets import SecretRules
from reconciler.execute.watching import Watcher
from reconciler.model.live import WorkerHealth
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.configuration import EMBEDDED, Configuration
from reconciler.server.engine.control import ControlSocket
from reconciler.server.engine.doorkeeper import Gate
from reconciler.server.engine.leading import Lead, node_of
from reconciler.server.engine.roster import Roster, ping_interval
from reconciler.server.engine.settling import settle_in
from reconciler.server.state.place import Place, ignore_in_git
from reconciler.server.state.retention import look_after_retention
from reconciler.server.state.sealing import sealer_of
from reconciler.server.trust.authority import Authority
from reconciler.store import attempts, objects, worker_status
from reconciler.store.database import Transaction
from reconciler.store.directory import EngineLock
from reconciler.store.keys import Sealer
from reconciler.store.leadership import Node
from reconciler.store.writer import Store


@dataclass(frozen=True, slots=True)
class Engine:
    """A store that is owned, and what runs on it."""

    place: Place
    store: Store
    sealer: Sealer
    lead: Lead

    @asynccontextmanager
    async def running(
        self,
        watcher: Watcher,
        configuration: Configuration = EMBEDDED,
        *,
        agents: socket.socket | None = None,
        secret_rules: SecretRules | None = None,
    ) -> AsyncIterator["Running"]:
        """Dispatch tasks to workers while the context stands; scripts that still run then go on.

        `agents` is a bound socket on which polling agents call; without it nobody can.
        """
        gc.freeze()  # what was loaded stays: the collector would look at it again and again, in the middle of steps
        grounds = self._grounds(watcher, configuration, secret_rules)
        dispatcher = Dispatcher(grounds)
        counts = Counts()
        authority = await Authority.open(self.store, self.sealer, time.time())
        roster = Roster(grounds, dispatcher, authority, configuration, counts)
        await self.store.write(_nobody_is_connected)
        await settle_in(self)
        await roster.look(start=False)
        await asyncio.to_thread(drop_old_partials, grounds.blobs, time.time())
        builtin = await self._builtin(grounds, dispatcher, configuration)
        await dispatcher.resume()
        await look_at_drains(self.store, dispatcher)  # before any worker reports what a drain cancels
        running = Running(dispatcher, roster, authority, counts, grounds.logs, [], secret_rules)
        async with AsyncExitStack() as stack:
            control = ControlSocket(self.place.files.socket, self.store, self.sealer, changed=running.change)
            await stack.enter_async_context(control.listening())
            stack.push_async_callback(running.stop)
            drains = look_after_drains(self.store, dispatcher)
            loops = (builtin.run(), dispatcher.run(), roster.run(), audit_claims(self.store), drains, self.lead.lost())
            for loop in loops:
                running.carry(loop)
            running.carry(look_after_retention(self.store, self.place.files, configuration.retention, counts.removed))
            if agents is not None:
                gate = Gate(self.store, authority, roster)
                listener = AgentListener(
                    *(authority.listener_context, gate, counts), ping_interval=lambda: ping_interval(roster.agents)
                )
                running.carry(listener.run(agents))
            roster.change()
            yield running

    def _grounds(self, watcher: Watcher, configuration: Configuration, secret_rules: SecretRules | None) -> Grounds:
        files = self.place.files
        return Grounds(
            *(self.store, LogStore(files.logs), files.blobs, files.root, self.sealer, watcher),
            root=self.place.root,
            secret_rules=secret_rules,
            node_files=self.lead.node.files,
            fleet=LiveFleet(_builtin_rules(configuration)),
            leasing=Leasing(configuration.tasks.running_max),
        )

    async def _builtin(self, grounds: Grounds, dispatcher: Dispatcher, configuration: Configuration) -> WorkerLink:
        """Link the built-in worker, even where it gets no new work: what ran there before is still to be followed.

        It looks what its machine has where that may matter: a server may be asked for it later, `apply` is not.
        """
        floor = await self.store.read(lambda tx: attempts.worker_epoch(tx, BUILTIN))
        accounts, look = configuration.builtin_worker.named, configuration.builtin_worker.enabled
        if configuration is EMBEDDED:
            accounts = await self.store.read(_account_of_space)
            look = bool(accounts) or await self.store.read(_something_is_required)
        if look:
            grounds.fleet.await_builtin()
        carrier = BuiltinCarrier(self.place.files.agent, accounts=accounts, look=look)
        link = WorkerLink(BUILTIN, carrier, grounds.logs, grounds.blobs, dispatcher, epoch_floor=floor)
        grounds.links[BUILTIN] = link
        return link


def _nobody_is_connected(tx: Transaction) -> None:
    """Record that sessions of an engine before us have ended; each worker is healthy again when it greets us."""
    for name, status in worker_status.statuses(tx).items():
        if name != BUILTIN and status.health is WorkerHealth.HEALTHY:
            worker_status.lose(tx, name, "it has not connected since the server was started", time.time())


def _builtin_rules(configuration: Configuration) -> BuiltinRules:
    settings = configuration.builtin_worker
    accounts = None if configuration is EMBEDDED else settings.accounts
    return BuiltinRules(as_server=settings.as_server, account=settings.run_as, accounts=accounts)


def _account_of_space(tx: Transaction) -> list[str]:
    """Return the account that the space names for steps on the server's own machine, if any."""
    account = space_in(tx).builtin_worker.run_as
    return [account] if account is not None else []


def _something_is_required(tx: Transaction) -> bool:
    """Say whether a step or a location of the live state requires something of its worker."""
    found = (
        each for kind in ("Project", "StepTemplate", "ExecutionLocation") for each in objects.of_kind(tx, kind).values()
    )
    return any('"requires":{"' in each.spec for each in found)


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[Engine]:
    """Become the one engine of a data directory and of its state.

    Raises Conflict while another is, StateUnreadable where it is broken.
    """
    place.files.create()
    with EngineLock.take(place.files):
        async with leading_engine(place, node_of(place.files)) as engine:
            yield engine


@asynccontextmanager
async def leading_engine(place: Place, node: Node) -> AsyncIterator[Engine]:
    """Lead with an engine, whose files are locked already; raises Led while another node leads, StateUnreadable."""
    with Store.open(place.data, place.files.root) as store, Lead.take(store, node) as lead:
        ignore_in_git(place.files)
        yield Engine(place, store, await store.write(lambda tx: sealer_of(tx, place.files)), lead)


@dataclass(frozen=True, slots=True)
class Running:
    """An engine at work: its dispatcher, its roster of workers, its logs, and the loops that carry it."""

    dispatcher: Dispatcher
    roster: Roster
    authority: Authority
    counts: Counts
    logs: LogStore
    loops: list["asyncio.Task[None]"]
    secret_rules: SecretRules | None = None

    def carry(self, loop: Coroutine[Any, Any, None]) -> None:
        """Run one more loop while the engine stands."""
        self.loops.append(asyncio.create_task(loop))

    def change(self) -> None:
        """Look at everything again: somebody has written to the store."""
        self.dispatcher.wake()
        self.roster.change()

    async def failure(self) -> None:
        """Wait until a loop fails, and raise what it failed with; whoever waits for tasks waits for this beside them."""
        done, _ = await asyncio.wait(self.loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in done:
            error = loop.exception()
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error or AssertionError("a loop of the engine ended by itself")

    async def stop(self) -> None:
        """End every loop; running scripts go on under their supervisors."""
        for loop in self.loops:
            loop.cancel()
        await asyncio.gather(*self.loops, return_exceptions=True)
