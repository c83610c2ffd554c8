"""What every running task stands on: the store, the links to workers, logs, blobs, secrets, and who watches."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.secrets import SecretRules
from reconciler.execute.watching import Watcher
from reconciler.model.space import SpaceSpec
from reconciler.schedule.fleet import LOST_AFTER, Fleet, fleet_of
from reconciler.store import objects, worker_status
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store

FLEET = ("WorkerPool", "Worker", "MachinePolicy")
"""The kinds that say where a step may run."""


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
    """The fleet as it was last applied and last seen, read once until somebody says that it has changed."""

    def __init__(self, *, builtin_allowed: bool = True) -> None:
        self._builtin_allowed = builtin_allowed
        self._found: Fleet | None = None
        self._last: Fleet | None = None

    def lost_after(self, worker: str) -> float:
        """Return the seconds of silence after which attempts on a worker are lost, as it was last declared."""
        member = self._last.workers.get(worker) if self._last is not None else None
        return member.lost_after if member is not None else LOST_AFTER

    async def now(self, store: Store) -> Fleet:
        """Return the fleet."""
        if self._found is None:
            found = await store.read(_fleet)
            self._found = found if self._builtin_allowed else replace(found, builtin_enabled=False)
            self._last = self._found
        return self._found

    def changed(self) -> None:
        """Read it again the next time."""
        self._found = None


def _fleet(tx: Transaction) -> Fleet:
    spaces = list(objects.of_kind(tx, "Space").values())
    settings = SpaceSpec.parse(spaces[0].spec) if spaces else SpaceSpec()
    found = [item for kind in FLEET for item in objects.of_kind(tx, kind).values()]
    return fleet_of({item.address: item for item in found}, settings, worker_status.statuses(tx))


@dataclass(frozen=True, slots=True)
class Grounds:
    """Shared by the dispatcher and its runs; `links` has an entry for every worker that can be reached."""

    store: Store
    logs: LogStore
    blobs: Path
    files: Path
    sealer: Sealer
    watcher: Watcher
    root: Path = Path("/")
    secret_rules: SecretRules | None = None
    """What committers may name; None where whoever runs this acts for himself."""
    running: Counter[str] = field(default_factory=Counter)
    """Attempts that live on each worker, as far as running tasks know."""
    links: dict[str, WorkerLink] = field(default_factory=dict)
    changed: Pulse = field(default_factory=Pulse)
    fleet: LiveFleet = field(default_factory=LiveFleet)
