"""What every running task stands on: the store, the links to workers, logs, blobs, secrets, and who watches."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from reconciler.execute.leasing import Leasing
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.secrets import SecretRules
from reconciler.execute.watching import Watcher
from reconciler.model.live import WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.fleet import BUILTIN, LOST_AFTER, Fleet, Member, fleet_of
from reconciler.schedule.formers import formers_of
from reconciler.store import drains, leaving, objects, overrides, worker_status
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store

FLEET = ("WorkerPool", "Worker", "MachinePolicy")
"""The kinds that say where a step may run."""


SEARCHES_MAX = 64
"""Secrets that programs are asked for at a time, by all tasks together: more than five tasks of ten steps each."""

NOT_ALLOWED = "the server's configuration allows no steps on its own machine"


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


@dataclass(frozen=True, slots=True)
class BuiltinRules:
    """What the server lets run on its own machine: steps as itself, or under `account`; a space may name of `accounts`.

    Where `accounts` is None a space may name any account.
    """

    as_server: bool = True
    account: str | None = None
    accounts: Collection[str] | None = None

    def applied(self, fleet: Fleet) -> Fleet:
        """Return the fleet with the account that steps run under there, or with why none may."""
        account = self.account if fleet.builtin_account is None else fleet.builtin_account
        obstacle = self.obstacle(account)
        if not obstacle:
            return replace(fleet, builtin_account=account)
        return replace(fleet, builtin_enabled=False, builtin_obstacle=obstacle, builtin_account=None)

    def obstacle(self, account: str | None) -> str:
        """Return why no step may run there under an account, "" where it may; None is the server itself."""
        if account is None:
            return "" if self.as_server else NOT_ALLOWED
        if self.accounts is None or account in {self.account, *self.accounts}:
            return ""
        if self.as_server or self.account is not None or self.accounts:
            return f"the server's configuration lets no steps run as {account} on its own machine"
        return NOT_ALLOWED


class LiveFleet:
    """The fleet as it was last applied and last seen, read once until somebody says that it has changed."""

    def __init__(self, allowed: BuiltinRules | None = None) -> None:
        self.builtin_rules = allowed or BuiltinRules()
        self._found: Fleet | None = None
        self._last: Fleet | None = None
        self._changes = 0
        self._builtin_awaited = False
        self._renamed: frozenset[str] = frozenset()  # both names of those that still work under another one

    def await_builtin(self) -> None:
        """Expect that the server's own machine tells what it has; until then it gets no step that requires something."""
        self._builtin_awaited = True
        self.changed()

    def lost_after(self, worker: str) -> float:
        """Return the seconds of silence after which attempts on a worker are lost, as it was last declared."""
        known = self._last.workers if self._last is not None else {}
        heirs = (member for member in known.values() if member.former and member.former.name == worker)
        member = known.get(worker) or next(heirs, None)
        return member.lost_after if member is not None else LOST_AFTER

    async def now(self, store: Store) -> Fleet:
        """Return the fleet; what changes while it is read is read again."""
        while self._found is None:
            changes = self._changes
            found = await store.read(fleet_in)
            if changes != self._changes:
                continue
            self._found = replace(self.builtin_rules.applied(found), builtin_awaited=self._builtin_awaited)
            self._last = self._found
            formers = ((member.name, member.former.name) for member in found.workers.values() if member.former)
            self._renamed = frozenset(chain.from_iterable(formers))
        return self._found

    def see(self, status: WorkerStatus) -> tuple[Fleet, Fleet, Member] | None:
        """Take in how one worker is now, without reading all the others again; return the fleet before, after, and him.

        None where they are to be read anyway.
        """
        if status.worker == BUILTIN:
            self._builtin_awaited = False
        if status.worker == BUILTIN or status.worker in self._renamed:
            self.changed()
            return None
        self._changes += 1
        before = self._found
        member = before.workers.get(status.worker) if before is not None else None
        if before is None or member is None:
            return None
        member = replace(member, status=status)
        self._found = self._last = replace(before, workers={**before.workers, status.worker: member})
        return before, self._found, member

    def changed(self) -> None:
        """Read it again the next time."""
        self._changes += 1
        self._found = None


def fleet_in(tx: Transaction) -> Fleet:
    """Read the fleet as it was last applied and last seen."""
    settings = space_in(tx)
    found = [item for kind in FLEET for item in objects.of_kind(tx, kind).values()]
    drained, going = overrides.standing(tx, time.time()), leaving.leaving(tx)
    declared = {item.address: item for item in found}
    formers = formers_of(declared, going, drains.occupants(tx)) if going else {}
    return fleet_of(declared, settings, worker_status.statuses(tx), drained, formers)


def space_in(tx: Transaction) -> SpaceSpec:
    """Read the settings of the space as they were last applied."""
    spaces = list(objects.of_kind(tx, "Space").values())
    return SpaceSpec.parse(spaces[0].spec) if spaces else SpaceSpec()


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
    links: dict[str, WorkerLink] = field(default_factory=dict)
    node_files: str = ""
    """What tells the files of this node from those of others."""
    changed: Pulse = field(default_factory=Pulse)
    fleet: LiveFleet = field(default_factory=LiveFleet)
    leasing: Leasing = field(default_factory=Leasing)
    searching: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SEARCHES_MAX))
    withdrawn: dict[TicketId, str] = field(default_factory=dict)
    """Attempts that are cancelled alone, until they have ended, each with the sentence with which its step fails."""

    async def fleet_now(self) -> Fleet:
        """Return the fleet as it is, after those who wait for a worker of it were told."""
        fleet = await self.fleet.now(self.store)
        self.leasing.follow(fleet)
        return fleet

    def see(self, status: WorkerStatus) -> None:
        """Take in how one worker is now."""
        seen = self.fleet.see(status)
        if seen is not None:
            self.leasing.see(*seen)
