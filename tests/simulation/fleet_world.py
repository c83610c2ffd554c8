"""A world of a fleet: servers, agents, store and network in one thread; a seed decides what happens next, and what fails.

Whatever can happen now happens before time passes, in an order that the seed draws.
"""

import math
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.protocol.tickets import TicketId
from reconciler.store import claims
from reconciler.store.sqlite import SqliteConnection
from tests.simulation.disk import Disk
from tests.simulation.fleet_books import Books
from tests.simulation.fleet_engine import Engine
from tests.simulation.fleet_faults import COMMITS, FAULTS, NODE_FAULTS
from tests.simulation.fleet_host import Host
from tests.simulation.fleet_node import Node
from tests.simulation.fleet_play import Play, play_of
from tests.simulation.fleet_store import LeadWitness, SharedDatabase
from tests.simulation.fleet_waits import Waits
from tests.simulation.fleet_witness import FleetWitness, rows_of
from tests.simulation.network import END
from tests.simulation.played import played
from tests.simulation.server_end import Killed, MemoryDatabase
from tests.simulation.still_time import BEGINNING, Clock

SETTLES_WITHIN = 1_200.0
"""Seconds after the last fault and the last order: `lostAfter`, cancellations without proof, and all the work itself."""

RESIZED_WITHIN = 30.0
"""Seconds for which the larger one of two capacities counts, since a grant may be on its way to the disk."""

EVENTS_MAX = 20_000

EVENTS_LIKELY = 350
"""So many events have happened when most runs are at their end; faults come before them."""

EVENTS_SURE = 200
"""So many happen in nearly every run: of several servers, faults come before them."""

FAULTS_MAX = 8

EVERY_FAULT = {**FAULTS, **COMMITS, **NODE_FAULTS}

TICK = 2.0**-20
"""Seconds; sums of such times are exact, so that no two ways to reckon whether something is due differ."""

Event = tuple[str, Callable[[], None]]


class FleetClock(Clock):
    """Time as it passes, and a wall clock that people may set."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return BEGINNING + self.now + self.ahead


class FleetWorld:
    """Everything that a seed makes: one server or, where there are `several`, two or three on one store."""

    def __init__(
        self, folder: Path, seed: int, kinds: Collection[str] = tuple(FAULTS), *, several: bool = False
    ) -> None:
        self.play: Play = play_of(seed)
        self._chance = random.Random(f"world {seed}")
        count = self._chance.choice((0, 1, 2, 4, FAULTS_MAX))
        self._faults = sorted(self._chance.randrange(EVENTS_LIKELY) for _ in range(count))
        self._kinds = tuple(kinds)
        self.clock, self.disk = FleetClock(), Disk()
        self.witness = FleetWitness(self.play, self._durable_log, bound=self._bound, belongs=self._belongs)
        self.waits = Waits(self.witness)
        self.machines = {machine.name: machine for machine in self.play.machines}
        self.pools = {pool.name: pool for pool in self.play.pools}
        self._former_bounds: dict[str, list[tuple[float, int | None]]] = {}
        self.left: dict[tuple[str, str], float] = {}
        """When a worker left a pool."""
        self._several = several
        chance = random.Random(f"nodes {seed}")
        names = ("a", "b", "c")[: chance.choice((2, 2, 3))] if several else ("server",)
        self.listening = frozenset(name for name in self.machines if several and chance.random() < 0.5)
        """The workers whose agents are dialled."""
        if several:
            self._faults = sorted(chance.randrange(EVENTS_SURE) for _ in range(chance.choice((2, 4, FAULTS_MAX))))
        self.books = Books(self.play, self._committed, self._database)
        self.nodes = [Node(self, name, folder / "servers" / name, is_alone=not several) for name in names]
        self.leads = LeadWitness(self.witness, self.clock, self._could_renew)
        self.hosts = {name: Host(self, name, folder / name) for name in self.machines}
        self.disk.adopt(folder)
        self.disk.before_sync = self._before_sync
        self.acting: Host = next(iter(self.hosts.values()))
        self.log: list[str] = []
        self._orders = list(self.play.orders)
        self._disturbed_at = 0.0
        self._heard = self.nodes[0]
        self._recorders: dict[str, str] = {}  # by ticket, the node that recorded its end

    @property
    def leader(self) -> Node | None:
        """The node whose engine may write; None where there is none."""
        leading = (node for node in self.nodes if node.engine is not None)
        return next((node for node in leading if node.epoch == self.leads.epoch), None)

    @property
    def engine(self) -> Engine | None:
        """The engine that may write."""
        leader = self.leader
        return leader.engine if leader is not None else None

    @property
    def open_nodes(self) -> list[Node]:
        """The nodes that agents can call, the deposed one among them that does not know it."""
        return [node for node in self.nodes if node.engine is not None and node.runs]

    def at(self, node: Node) -> str:
        """Say which node; nothing where there is one."""
        return f" {node.name}" if self._several else ""

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Put the package on this world's clock, disk and processes."""
        with self.clock.told(), self.disk.watching(), played(self._sweep, self._boot_id):
            yield

    def run(self) -> None:
        """Live until all is settled."""
        with self.awake():
            try:
                self._run()
            finally:
                self._close()

    def _run(self) -> None:
        self._come_to_rest()
        while True:
            if self._faults and len(self.log) >= self._faults[0]:
                self._fail()
            events = list(self._events())
            if events:
                name, happens = self._chance.choice(events)
                self.note(name)
                happens()
            elif self._is_settled():
                break
            else:
                self._pass_time()
            self._come_to_rest()
            assert len(self.log) < EVENTS_MAX, "the world never comes to rest"
        self.waits.told(self.books._connection)
        for node in self.nodes:
            self._hear(node)
            rows = [row for row in self.witness.rows.attempts.values() if self._recorders[row.ticket] == node.name]
            self.witness.ended(rows, node.kept_logs())
        self._raise_breach()

    def note(self, what: str) -> None:
        """Take something down in the log."""
        self.log.append(f"{self.clock.now:.3f} {what}")

    def _fail(self) -> None:
        """Let something go wrong."""
        kind = self._chance.choice(self._kinds)
        did = EVERY_FAULT[kind](self, self._chance)
        if did or not self._several:  # of several servers, something goes wrong as soon as it can
            del self._faults[0]
        if not did:
            return
        self.note(f"!! {kind}: {did}")
        for host in self.hosts.values():
            host.stir()
        self.disturb()
        self._come_to_rest()

    # Events.

    def _events(self) -> Iterator[Event]:
        """Yield what can happen now."""
        for host in self.hosts.values():
            yield from host.events()
        for node in self.nodes:
            yield from node.events()
        if self._orders and self.clock.now >= self._orders[0].at:
            yield "a task is queued", self._queue

    def _queue(self) -> None:
        self.books.queue(self._orders.pop(0), self.clock.time())
        self.disturb()
        if self.engine is not None:
            self.engine.dispatcher.wake()

    def _pass_time(self) -> None:
        now, leader = self.clock.now, self.leader
        if leader is None or not leader.is_calm:
            self.waits.disturbed(self.clock.time())
        else:
            self.waits.look(self.books._connection, self.books.commits, now, self.clock.time())
        if self._several:
            is_vacant = leader is None or not leader.could_renew
            self.leads.look({node.name for node in self.nodes if node.could_lead}, is_vacant=is_vacant)
        self._raise_breach()
        self._judge_delay()
        moments = [order.at for order in self._orders[:1]]
        moments += [moment for host in self.hosts.values() for moment in host.moments()]
        moments += [moment for node in self.nodes for moment in node.moments()]
        self.clock.now = math.floor(min(moment for moment in moments if moment > now) / TICK + 1) * TICK
        for host in self.hosts.values():
            host.stir()
            if host.lossy and host.stands:
                host.cut()

    def _come_to_rest(self) -> None:
        """Let everybody do what he can by himself."""
        moved = True
        while moved:
            moved = False
            for node in self.nodes:
                moved |= node.rest()
            for host in self.hosts.values():
                moved |= host.rest()
        self._raise_breach()

    # Faults.

    def disturb(self) -> None:
        """Take that something happened from outside."""
        self._disturbed_at = self.clock.now
        self.waits.disturbed(self.clock.time())
        self.leads.disturbed()

    def commit(self, work: Callable[[SqliteConnection], object]) -> None:
        """Let a person write to the store, and the server be told."""
        self.books.write(work)
        if self.engine is not None:
            self.engine.dispatcher.wake()

    def resized(self, name: str) -> None:
        """Take that a capacity is another one from now on."""
        self._former_bounds.setdefault(name, []).append((self.clock.now, self._declared(name)))

    def recap(self, cap: int) -> int:
        """Give the tasks to come another `leaseCap`; return how many they are."""
        to_come = len(self._orders)
        kept = self.play.orders[: len(self.play.orders) - to_come]
        self._orders = [order.recapped(cap) for order in self._orders]
        self.play = self.witness.play = replace(self.play, orders=(*kept, *self._orders))
        return to_come

    # The end.

    def _is_settled(self) -> bool:
        is_cut_off = any(host.unreachable_until > self.clock.now for host in self.hosts.values())
        if self._orders or is_cut_off or self.leader is None or not self.leader.is_calm:
            return False
        others = (node for node in self.nodes if node is not self.leader)
        return all(node.runs and not node.is_cut and node.engine is None for node in others) and not self._left()

    def _judge_delay(self) -> None:
        ends = [self._disturbed_at, *(host.unreachable_until for host in self.hosts.values())]
        ends += [max(node.paused_until, node.cut_until) for node in self.nodes]
        if self.clock.now <= max(ends) + SETTLES_WITHIN or self._orders:
            return
        left = self._left()
        guarantee = "G8" if "tasks" in left else "G7" if "claims" in left or "holders" in left else "G10"
        words = ", ".join(f"{name} {value}" for name, value in left.items())
        self.witness.blame(guarantee, f"not settled {SETTLES_WITHIN:g} s after the last fault: {words}")
        self._raise_breach()

    def _left(self) -> dict[str, object]:
        """Say what is left anywhere."""
        rows, engine = self.witness.rows, self.engine
        held = engine.grounds.leasing._scheduler._held if engine is not None else None
        left: dict[str, object] = {
            "tasks": [f"{row.number} {row.state}" for row in rows.tasks.values() if not row.state.ended],
            "attempts": [row.ticket for row in rows.attempts.values() if row.finished_at is None],
            "wishes": engine.wishes if engine is not None else "no server",
            "claims": self.books.read(claims.held) or self.books.read(claims.mismatches),
            "holders": sorted(held.holds) + sorted(engine.grounds.leasing.holders) if held and engine else [],
            "scripts": sorted(self.witness.alive),
            "workers": {host.name: host.left() for host in self.hosts.values() if host.left()},
        }
        return {name: value for name, value in left.items() if value}

    def _close(self) -> None:
        for host in self.hosts.values():
            host.end()
        for node in self.nodes:
            node.close()
        self.books.close()

    # What the ends see of the world.

    def _sweep(self, cookie: str) -> bool:
        self.witness.kill(TicketId(cookie))
        return True

    def _boot_id(self) -> str:
        return self.acting.boot

    def said_by_server(self, node: Node, frame: bytes) -> None:
        """Take that a server sends a frame."""
        if frame != END:
            self._hear(node)
            self.witness.said_by_server(frame)

    def heard_logs(self, node: Node) -> None:
        """Take that an engine begins with the logs of a node."""
        self._hear(node)
        self.witness.kept(node.kept_logs())

    def _hear(self, node: Node) -> None:
        """Let the witness look at the logs of one node from now on."""
        self._heard = node
        self.witness.hear(node.name)

    def _before_sync(self, path: Path) -> None:
        target = path.readlink()
        for host in self.hosts.values():
            if host.dies and host.owns(target):
                host.dies = False
                self.disturb()
                raise Killed

    def _committed(self, tx: SqliteConnection, node: str) -> None:
        before, rows = self.witness.rows.attempts, rows_of(tx)
        for ticket, row in rows.attempts.items():
            if ticket not in before or row.finished_at != before[ticket].finished_at:
                self._recorders[ticket] = node or self.nodes[0].name
        self.witness.took(rows)

    def _database(self, content: bytes) -> MemoryDatabase:
        return SharedDatabase(content, self.clock) if self._several else MemoryDatabase(content)

    def _could_renew(self, name: str) -> bool:
        return any(node.could_renew for node in self.nodes if node.name == name)

    def _bound(self, name: str) -> int | None:
        """Return what a worker or a pool may have: the largest of what was declared a short while ago."""
        since = self.clock.now - RESIZED_WITHIN
        bounds = [bound for at, bound in self._former_bounds.get(name, []) if at > since]
        found = [self._declared(name), *bounds]
        return None if None in found else max(bound for bound in found if bound is not None)

    def _belongs(self, worker: str, pool: str) -> bool:
        """Say whether a worker is in a pool, or was a short while ago."""
        left = self.left.get((worker, pool))
        return pool in self.machines[worker].pools or (left is not None and left > self.clock.now - RESIZED_WITHIN)

    def _declared(self, name: str) -> int | None:
        kind, _, which = name.partition("/")
        return self.machines[which].slots if kind == "worker" else self.pools[which].attempts_max

    def _durable_log(self, ticket: TicketId) -> bytes:
        return self._heard.durable_log(ticket)

    def _raise_breach(self) -> None:
        if self.witness.broken is not None:
            raise self.witness.broken
