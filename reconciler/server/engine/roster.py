"""The roster: a link for every worker that has an agent, in step with what was last applied; it knows who may call."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from reconciler.execute.breaches import Breaches
from reconciler.execute.carriers import Carrier, Connection
from reconciler.execute.conversation import PING_INTERVAL
from reconciler.execute.counts import Counts
from reconciler.execute.dialling import ListeningCarrier
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.listener import Refusal
from reconciler.execute.peers import Peer
from reconciler.execute.polling import PollingCarrier
from reconciler.model.infrastructure import Listening
from reconciler.protocol import messages
from reconciler.server.configuration import Configuration
from reconciler.server.engine.routes import route_to
from reconciler.server.engine.wanted import NOBODY, Wanted, wanted_workers
from reconciler.server.state.registered import Registered
from reconciler.server.trust.authority import Authority
from reconciler.server.trust.enrolment import renew
from reconciler.store import worker_status

LOOK_AGAIN = 5.0
"""Seconds after which the roster is compared even if nobody said that something changed."""

PINGS_PER_SECOND = 25.0
"""Of all agents together: a thousand of them are heard each 40 s."""

NOTED_EACH = 60.0
"""Seconds between two records of who is connected."""

READ_WITHIN = 60.0
"""Seconds after which a connected agent has read all that it was told: a session without signs of life ends before."""

RETRY_DUPLICATE = 15.0
"""Seconds after which a refused second machine may ask again: the first one is gone by then, or still there."""


@dataclass(slots=True)
class _Entry:
    """One worker, its link, and the task that keeps its session."""

    wanted: Wanted
    link: WorkerLink
    carrier: Carrier
    task: "asyncio.Task[None] | None" = field(default=None)


class Registry(Mapping[str, Registered]):
    """Which worker may show which thumbprint; few are asked for."""

    def __init__(self, wanted: Mapping[str, Wanted]) -> None:
        self._wanted = wanted

    def __getitem__(self, thumbprint: str) -> Registered:
        return self._wanted[thumbprint].registered

    def __iter__(self) -> Iterator[str]:
        return iter(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)


class Roster:
    """Every worker with an agent: those that are declared, and those that left while attempts still live on them."""

    def __init__(
        self,
        grounds: Grounds,
        dispatcher: Dispatcher,
        authority: Authority,
        configuration: Configuration,
        counts: Counts,
    ) -> None:
        self._grounds = grounds
        self._dispatcher = dispatcher
        self._authority = authority
        self._configuration = configuration
        self._counts = counts
        self._breaches = Breaches(counts, grounds.watcher)
        self._entries: dict[str, _Entry] = {}
        self._declared: Mapping[str, Registered] = {}
        self._found = NOBODY
        self._noted_at = 0.0
        self._changed = asyncio.Event()

    @property
    def revoked(self) -> frozenset[str]:
        """Thumbprints that hold no more, whatever Git declares."""
        return self._found.revoked

    @property
    def declared(self) -> Mapping[str, Registered]:
        """Which worker may show which thumbprint."""
        return self._declared

    @property
    def agents(self) -> int:
        """How many workers are linked, connected or not."""
        return len(self._entries)

    @property
    def sessions(self) -> int:
        """How many workers are connected now."""
        return sum(entry.link.silent_since is None for entry in self._entries.values())

    def change(self) -> None:
        """Compare again: what is declared, revoked or trusted has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Keep sessions until cancelled; scripts that run on workers outlive it."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await self._changed.wait()
                self._changed.clear()
                self._raise_failure()
                await self.look()
                await self._note_seen()
        finally:
            tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _raise_failure(self) -> None:
        """Let a bug in a link end the engine loudly: a worker that silently gets no more work would be worse."""
        for entry in self._entries.values():
            if entry.task is not None and entry.task.done() and not entry.task.cancelled():
                entry.task.result()

    async def look(self, *, start: bool = True) -> None:
        """Bring links in step with what is declared; without `start` they only take wishes until they are started."""
        store, before = self._grounds.store, self._found
        found = self._found = await store.read(lambda tx: wanted_workers(tx, store.known, before))
        if await self._authority.refresh():
            self._configure_all()
        if found.workers is not before.workers:
            await self._follow(found.workers)
        if found.leaving != before.leaving:
            self._dispatcher.wake()  # who waits for one that left under another name may wait for it under its own
        for entry in self._entries.values():
            if entry.link.silent_since is None:
                await self._check(entry)
            if start and entry.task is None and not entry.wanted.former:
                entry.task = asyncio.create_task(entry.link.run(), name=f"link to {entry.wanted.name}")
                entry.task.add_done_callback(lambda _: self._changed.set())

    async def _follow(self, workers: Mapping[str, Wanted]) -> None:
        """Add, change and remove links as their declarations came, changed and went."""
        for name, wanted in workers.items():
            entry = self._entries.get(name)
            if entry is None:
                self._add(wanted)
            elif entry.wanted is not wanted and entry.wanted != wanted:
                await self._change(entry, wanted)
        self._declared = Registry({each: wanted for wanted in workers.values() for each in wanted.thumbprints})
        for name in self._entries.keys() - workers.keys():
            await self._remove(name)

    def _configure_all(self) -> None:
        """Tell every connected agent whom to trust from now on."""
        for entry in self._entries.values():
            entry.link.configure()

    async def _note_seen(self) -> None:
        """Record now and then who is connected, as of a moment before which each has read what it was told."""
        now = time.time()
        if now - self._noted_at < NOTED_EACH:
            return
        self._noted_at = now
        connected = [name for name, entry in self._entries.items() if entry.link.silent_since is None]
        await self._grounds.store.write(lambda tx: worker_status.hear(tx, connected, now - READ_WITHIN))

    def _add(self, wanted: Wanted) -> None:
        carrier, last = self._carrier(wanted), self._found.sessions[wanted.name]
        link = WorkerLink(
            *(wanted.name, carrier, self._grounds.logs, self._grounds.blobs, self._dispatcher),
            registrar=self,
            counts=self._counts,
            breaches=self._breaches,
            epoch_floor=last.epoch,
            store=last.store,
            ping_interval=ping_interval(len(self._found.workers)),
        )
        self._entries[wanted.name] = _Entry(wanted, link, carrier)
        self._grounds.links[wanted.name] = link

    async def _change(self, entry: _Entry, wanted: Wanted) -> None:
        """Take over what was declared anew; a session goes on unless the way to the worker is another one."""
        before, entry.wanted = entry.wanted, wanted
        if before.way != wanted.way:
            entry.carrier = self._carrier(wanted)
            await entry.link.reroute(entry.carrier)
        elif isinstance(entry.carrier, ListeningCarrier):
            entry.carrier.expect(wanted.thumbprints)
        entry.link.configure()

    async def _remove(self, name: str) -> None:
        entry = self._entries.pop(name)
        self._grounds.links.pop(name, None)
        if entry.task is not None:
            entry.task.cancel()
            await asyncio.gather(entry.task, return_exceptions=True)

    async def _check(self, entry: _Entry) -> None:
        """End a live session whose identity is not declared any more, or revoked."""
        link = entry.link
        if link.thumbprint not in entry.wanted.thumbprints:
            await link.hang_up()

    def _carrier(self, wanted: Wanted) -> Carrier:
        if isinstance(wanted.endpoint, Listening):
            return ListeningCarrier(
                route_to(wanted, self._grounds.secret_rules, self._grounds.root),
                self._authority.dialling_context,
                self._configuration.network.forbids,
            )
        return PollingCarrier()

    # What the doorkeeper and the links ask.

    def take(self, worker: str, connection: Connection) -> Refusal | None:
        """Give an admitted call to its link; a second machine with the same identity is refused while the first lives."""
        entry = self._entries.get(worker)
        if entry is None or not isinstance(entry.carrier, PollingCarrier):
            return Refusal(
                "undeclared", f"the worker {worker} is declared as one that listens: it is not to call", 60.0
            )
        current = entry.carrier.current
        if current is not None and not current.writer.is_closing() and _machine(current) != _machine(connection):
            text = (
                f"another machine ({current.address}) is connected as {worker}: two must not share one identity; "
                "enrol this one under a name of its own"
            )
            return Refusal("duplicate", text, RETRY_DUPLICATE)
        entry.carrier.take(connection)
        return None

    def config(self, worker: str) -> messages.Config:
        """Return what a worker's agent has to know: whom to trust, and which of its keys Git declares."""
        entry = self._entries.get(worker)
        thumbprints = tuple(sorted(entry.wanted.thumbprints)) if entry is not None else ()
        return messages.Config(self._authority.trust(), thumbprints)

    async def renewed(self, worker: str, request: str) -> messages.Certified | messages.Reject:
        """Certify a worker's present or next key: what gives it access is Git, not the certificate."""
        entry = self._entries.get(worker)
        peer = Peer(entry.link.thumbprint if entry is not None else "", None)
        ring, now = self._authority.ring, time.time()
        answer = await self._grounds.store.write(lambda tx: renew(tx, ring, peer, messages.Renew(request), now))
        if isinstance(answer, Refusal):
            return messages.Reject(answer.code, answer.text, answer.retry_after)
        return answer.certified


def ping_interval(agents: int) -> float:
    """Return the seconds between two signs of life of each of so many agents."""
    return max(PING_INTERVAL, agents / PINGS_PER_SECOND)


def _machine(connection: Connection) -> tuple[str, str] | None:
    """Say what tells one machine from its copy: the state directory and the boot."""
    hello = connection.session.hello if connection.session is not None else None
    return (hello.store, hello.boot) if hello is not None else None
