"""The engine: one per data directory, it owns the store, runs what is queued and answers on the control socket."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.carriers import BuiltinCarrier
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.watching import Watcher
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.control import ControlSocket
from reconciler.server.place import Place, ignore_in_git
from reconciler.store import attempts
from reconciler.store.directory import EngineLock
from reconciler.store.keys import Sealer, sealer
from reconciler.store.writer import Store

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another one in: the store's writer must not wait for the event loop."""

KEY_FILE = "RECONCILE_KEY_FILE"
"""The environment variable that names the key's file, where it is not DIR/key."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A store that is owned, and what runs on it."""

    place: Place
    store: Store
    sealer: Sealer

    @asynccontextmanager
    async def running(self, watcher: Watcher) -> AsyncIterator["Running"]:
        """Dispatch tasks to the built-in worker while the context stands; scripts that still run then go on."""
        files = self.place.files
        grounds = Grounds(self.store, LogStore(files.logs), files.blobs, files.root, self.sealer, watcher)
        dispatcher = Dispatcher(grounds)
        carrier = BuiltinCarrier(files.agent)
        floor = await self.store.read(lambda tx: attempts.worker_epoch(tx, BUILTIN))
        link = WorkerLink(BUILTIN, carrier, grounds.logs, files.blobs, dispatcher, epoch_floor=floor)
        grounds.links[BUILTIN] = link
        await dispatcher.resume()
        async with AsyncExitStack() as stack:
            control = ControlSocket(files.socket, self.store, changed=dispatcher.wake)
            await stack.enter_async_context(control.listening())
            loops = [asyncio.create_task(link.run()), asyncio.create_task(dispatcher.run())]
            stack.push_async_callback(_stop, loops)
            yield Running(dispatcher, tuple(loops))


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[Engine]:
    """Become the one engine of a data directory; raises Conflict while another is, StateUnreadable where it is broken."""
    place.files.create()
    with EngineLock.take(place.files), Store.open(place.data, place.files.root) as store:
        ignore_in_git(place.files)
        given = os.environ.get(KEY_FILE)
        path = Path(given) if given else place.files.key
        found = await store.write(lambda tx: sealer(tx, path, given=bool(given)))
        yield Engine(place, store, found)


@dataclass(frozen=True, slots=True)
class Running:
    """An engine at work: its dispatcher, and the loops that carry it."""

    dispatcher: Dispatcher
    loops: tuple[asyncio.Task[None], ...]

    async def failure(self) -> None:
        """Wait until a loop fails, and raise what it failed with; whoever waits for tasks waits for this beside them."""
        done, _ = await asyncio.wait(self.loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in done:
            error = loop.exception()
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error or AssertionError("a loop of the engine ended by itself")


async def _stop(loops: list[asyncio.Task[None]]) -> None:
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
