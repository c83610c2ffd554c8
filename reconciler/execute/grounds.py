"""What every running task stands on: the store, the links to workers, logs, blobs, secrets, and who watches."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.watching import Watcher
from reconciler.model.space import SpaceSpec
from reconciler.schedule.fleet import Fleet, fleet_of
from reconciler.store import objects
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store


class Pulse:
    """Wakes everyone who waits at the moment it is given."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all who wait."""
        self._next.set()
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Return the event of the next pulse: taken before a look, nothing after that look is missed."""
        return self._next


class LiveFleet:
    """The fleet as it was last applied, read once until somebody says that it has changed."""

    def __init__(self) -> None:
        self._found: Fleet | None = None

    async def now(self, store: Store) -> Fleet:
        """Return the fleet."""
        if self._found is None:
            self._found = await store.read(_fleet)
        return self._found

    def changed(self) -> None:
        """Read it again the next time."""
        self._found = None


def _fleet(tx: Transaction) -> Fleet:
    spaces = list(objects.of_kind(tx, "Space").values())
    settings = SpaceSpec.parse(spaces[0].spec) if spaces else SpaceSpec()
    found = [*objects.of_kind(tx, "WorkerPool").values(), *objects.of_kind(tx, "Worker").values()]
    return fleet_of({item.address: item for item in found}, settings)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Shared by the dispatcher and its runs; `links` has an entry for every worker that can be reached."""

    store: Store
    logs: LogStore
    blobs: Path
    files: Path
    sealer: Sealer
    watcher: Watcher
    links: dict[str, WorkerLink] = field(default_factory=dict)
    changed: Pulse = field(default_factory=Pulse)
    fleet: LiveFleet = field(default_factory=LiveFleet)
