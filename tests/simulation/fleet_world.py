"""A world of a fleet: server, agents, store and network in one thread; a seed decides what happens next, and what fails.

Whatever can happen now happens before time passes, in an order that the seed draws.
"""

import math
import random
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.protocol.tickets import TicketId
from reconciler.store import claims
from reconciler.store.sqlite import SqliteConnection
from tests.simulation.disk import Disk
from tests.simulation.fleet_books import Books
from tests.simulation.fleet_engine import Engine
from tests.simulation.fleet_faults import FAULTS
from tests.simulation.fleet_host import Host
from tests.simulation.fleet_play import Play, play_of
from tests.simulation.fleet_waits import Waits
from tests.simulation.fleet_witness import FleetWitness, rows_of
from tests.simulation.network import END
from tests.simulation.played import played
from tests.simulation.server_end import Killed
from tests.simulation.still_time import BEGINNING, Clock, Job, StillLoop

RESTART_AFTER = 1.0
"""Seconds until a killed server is there again."""

SETTLES_WITHIN = 1_200.0
"""Seconds after the last fault and the last order: `lostAfter`, cancellations without proof, and all the work itself."""

RESIZED_WITHIN = 30.0
"""Seconds for which the larger one of two capacities counts, since a grant may be on its way to the disk."""

EVENTS_MAX = 20_000

EVENTS_LIKELY = 350
"""So many events have happened when most runs are at their end; faults come before them."""

FAULTS_MAX = 8

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
    """Everything that a seed makes."""

    def __init__(self, folder: Path, seed: int, kinds: Collection[str] = tuple(FAULTS)) -> None:
        self.play: Play = play_of(seed)
        self._chance = random.Random(f"world {seed}")
        count = self._chance.choice((0, 1, 2, 4, FAULTS_MAX))
        self._faults = sorted(self._chance.randrange(EVENTS_LIKELY) for _ in range(count))
        self._kinds = tuple(kinds)
        self._logs = folder / "server" / "logs"
        self._logs.mkdir(parents=True, mode=0o700)
        self.clock, self.disk = FleetClock(), Disk()
        self.loop = StillLoop(self.clock)
        self.witness = FleetWitness(self.play, self._durable_log, bound=self._bound)
        self.waits = Waits(self.witness)
        self.machines = {machine.name: machine for machine in self.play.machines}
        self.pools = {pool.name: pool for pool in self.play.pools}
        self._former_bounds: dict[str, list[tuple[float, int | None]]] = {}
        self.books = Books(self.play, self._committed)
        self.engine: Engine | None = None
        self.hosts = {name: Host(self, name, folder / name) for name in self.machines}
        self.disk.adopt(folder)
        self.disk.before_sync = self._before_sync
        self.acting: Host = next(iter(self.hosts.values()))
        self.dying: Coroutine[object, object, None] | None = None
        self.disk_slow_until = 0.0
        self.log: list[str] = []
        self._orders = list(self.play.orders)
        self._server_from = 0.0
        self._disturbed_at = 0.0

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Put the package on this world's clock, disk and processes."""
        with self.clock.told(), self.disk.watching(), played(self._sweep, self._boot_id):
            yield

    def run(self) -> None:
        """Live until all is settled."""
        with self.awake():
            try:
                self.loop.run_until_complete(self._run())
            finally:
                self._close()

    async def _run(self) -> None:
        await self._come_to_rest()
        while True:
            if self._faults and len(self.log) >= self._faults[0]:
                del self._faults[0]
                await self._fail()
            events = list(self._events())
            if events:
                name, happens = self._chance.choice(events)
                self.log.append(f"{self.clock.now:.3f} {name}")
                happens()
            elif self._is_settled():
                break
            else:
                self._pass_time()
            await self._come_to_rest()
            assert len(self.log) < EVENTS_MAX, "the world never comes to rest"
        self.waits.told(self.books._connection)
        self.witness.ended(list(self.witness.rows.attempts.values()), self._kept_logs())
        self._raise_breach()

    async def _fail(self) -> None:
        """Let something go wrong."""
        kind = self._chance.choice(self._kinds)
        did = FAULTS[kind](self, self._chance)
        if not did:
            return
        self.log.append(f"{self.clock.now:.3f} !! {kind}: {did}")
        if self.dying is not None:
            await self.dying
            self.dying = None
        for host in self.hosts.values():
            host.stir()
        self.disturb()
        await self._come_to_rest()

    # Events.

    def _events(self) -> Iterator[Event]:
        """Yield what can happen now."""
        now = self.clock.now
        for host in self.hosts.values():
            yield from host.events()
        if now >= self.disk_slow_until:
            for what in ("write", "sync"):
                job = next((job for job in self.loop.jobs if job.what == what), None)
                if job is not None:
                    yield f"server {what}", lambda job=job: self._do(job)
        if self.engine is None and now >= self._server_from:
            yield "server starts", self._start_server
        if self._orders and now >= self._orders[0].at:
            yield "a task is queued", self._queue

    def _do(self, job: Job) -> None:
        self.loop.jobs.remove(job)
        try:
            found = job.work()
        except Exception as error:  # goes to whoever waits for it
            if job.done.cancelled():
                raise
            job.done.set_exception(error)
        else:
            if not job.done.cancelled():
                job.done.set_result(found)

    def _start_server(self) -> None:
        self.witness.kept(self._kept_logs())
        self.engine = Engine(self.books, self._logs, self.loop, list(self.hosts))

    def _queue(self) -> None:
        self.books.queue(self._orders.pop(0), self.clock.time())
        self.disturb()
        if self.engine is not None:
            self.engine.dispatcher.wake()

    def _pass_time(self) -> None:
        now = self.clock.now
        if self.engine is None or self.loop.jobs:
            self.waits.disturbed(self.clock.time())
        else:
            self.waits.look(self.books._connection, self.books.commits, now, self.clock.time())
        self._raise_breach()
        self._judge_delay()
        moments = [self._server_from, self.disk_slow_until, *(order.at for order in self._orders[:1])]
        moments += [moment for host in self.hosts.values() for moment in host.moments()]
        if (timer := self.loop.next_timer) is not None:
            moments.append(timer)
        self.clock.now = math.floor(min(moment for moment in moments if moment > now) / TICK + 1) * TICK
        for host in self.hosts.values():
            host.stir()
            if host.lossy and host.stands:
                host.cut()

    async def _come_to_rest(self) -> None:
        """Let everybody do what he can by himself."""
        moved = True
        while moved:
            moved = await self.loop.come_to_rest()
            for host in self.hosts.values():
                moved |= host.rest()
        if self.engine is not None:
            self.engine.raise_failure()
        self._raise_breach()

    # Faults.

    def disturb(self) -> None:
        """Take that something happened from outside."""
        self._disturbed_at = self.clock.now
        self.waits.disturbed(self.clock.time())

    async def kill_server(self, *, after_next: bool = False, power: bool = False) -> None:
        """Kill the engine: before its next job for the disk or, unseen by it, after; `power`: lose what is not synced."""
        assert self.engine is not None
        if after_next and self.loop.jobs:
            self.loop.jobs.popleft().work()
        if power:
            for host in self.hosts.values():
                if host.line is not None:
                    host.line.cut(agent_knows=False, server_knows=True)
        await self.engine.die()
        self.engine = None
        if power:
            self.disk.cut_power(self._logs)
        self._server_from = self.clock.now + RESTART_AFTER

    def commit(self, work: Callable[[SqliteConnection], object]) -> None:
        """Let a person write to the store, and the server be told."""
        self.books.write(work)
        if self.engine is not None:
            self.engine.dispatcher.wake()

    def resized(self, name: str) -> None:
        """Take that a capacity is another one from now on."""
        self._former_bounds.setdefault(name, []).append((self.clock.now, self._declared(name)))

    # The end.

    def _is_settled(self) -> bool:
        is_cut_off = any(host.unreachable_until > self.clock.now for host in self.hosts.values())
        if self._orders or is_cut_off or self.engine is None or self.loop.jobs:
            return False
        return not self._left()

    def _judge_delay(self) -> None:
        ends = [self._disturbed_at, *(host.unreachable_until for host in self.hosts.values())]
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
        if self.engine is not None:
            self.loop.run_until_complete(self.engine.die())
        self.books.close()
        self.loop.close()

    # What the ends see of the world.

    def _sweep(self, cookie: str) -> bool:
        self.witness.kill(TicketId(cookie))
        return True

    def _boot_id(self) -> str:
        return self.acting.boot

    def said_by_server(self, frame: bytes) -> None:
        """Take that the server sends a frame."""
        if frame != END:
            self.witness.said_by_server(frame)

    def _before_sync(self, path: Path) -> None:
        target = path.readlink()
        for host in self.hosts.values():
            if host.dies and host.owns(target):
                host.dies = False
                self.disturb()
                raise Killed

    def _committed(self, tx: SqliteConnection) -> None:
        self.witness.took(rows_of(tx))

    def _bound(self, name: str) -> int | None:
        """Return what a worker or a pool may have: the largest of what was declared a short while ago."""
        since = self.clock.now - RESIZED_WITHIN
        bounds = [bound for at, bound in self._former_bounds.get(name, []) if at > since]
        found = [self._declared(name), *bounds]
        return None if None in found else max(bound for bound in found if bound is not None)

    def _declared(self, name: str) -> int | None:
        kind, _, which = name.partition("/")
        return self.machines[which].slots if kind == "worker" else self.pools[which].attempts_max

    def _durable_log(self, ticket: TicketId) -> bytes:
        return self.disk.durable(self._logs, f"{ticket}.journal")

    def _kept_logs(self) -> dict[TicketId, bytes]:
        return {TicketId(path.name.removesuffix(".journal")): path.read_bytes() for path in self._logs.iterdir()}

    def _raise_breach(self) -> None:
        if self.witness.broken is not None:
            raise self.witness.broken
