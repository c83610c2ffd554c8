"""Reading for coroutines: on a few threads, while the event loop goes on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from reconciler.store.database import Database, T, Work
from reconciler.store.reader import Reader

READERS_MAX = 4  # threads that read at once; the processor, not their number, is the limit
WAITING_MAX = 10_000  # functions of one event loop that wait; further coroutines wait outside


class Room:
    """Bounds how many coroutines of each event loop wait for the store."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """Return the places of `loop`."""
        return self._places.setdefault(loop, asyncio.Semaphore(WAITING_MAX))


class Readers(Reader):
    """Runs functions that only read, also for coroutines."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._threads = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="store-reader")
        self._room = Room()

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a reader's thread."""
        loop = asyncio.get_running_loop()
        async with self._room.of(loop):
            return await loop.run_in_executor(self._threads, self.read_now, work)

    async def glance(self, work: Work[T]) -> T:
        """Do as `read` does for some rows by their keys, which a file of this machine gives sooner than a thread wakes.

        Nothing here waits for a writer: readers of the write-ahead log take no lock that one holds.
        """
        return await self.read(work) if self._database.is_shared else self.read_now(work)

    def close(self) -> None:
        """Wait for what is being read, and let go of the database."""
        self._threads.shutdown()
        super().close()
