"""A world of one ticket: server, agent and supervisors in one thread; what happens next is decided one event at a time.

Nothing races and nothing waits: the default is that what can happen happens at once and in order, and time passes where
nothing can. An adversary may interfere before each event.
"""

import math
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from reconciler.protocol.tickets import TicketId
from reconciler.store import claims
from tests.simulation.agent_end import Agent
from tests.simulation.disk import Disk
from tests.simulation.network import END, HEARTBEATS, Line, control_of, title
from tests.simulation.played import played
from tests.simulation.server_end import Books, Engine, Killed
from tests.simulation.still_time import Clock, StillLoop
from tests.simulation.supervisor import Supervisor
from tests.simulation.witness import Play, Witness

RESTART_AFTER = 1.0
"""Seconds until a killed server or agent is there again, and until an agent calls again."""

SETTLES_WITHIN = 300.0
"""Seconds after the last fault: `lostAfter`, a cancellation without proof, a second attempt, and then some."""

IDLE_MAX = 10
"""Times that time passes while a connection has lost frames; then it is cut, even if the adversary waits for more."""

EVENTS_MAX = 3_000

PASSES = "time passes"

Event = tuple[str, Callable[[], None]]

Interfere = Callable[["World", int, list[str]], Awaitable[bool]]
"""Acts before the event of that number, one of those named; says whether it will act again."""


class World:
    """One task of one step, its server and its worker."""

    def __init__(self, folder: Path, play: Play) -> None:
        self.state, self._logs = folder / "agent", folder / "server" / "logs"
        for path in (self.state / "tickets", self.state / "tombstones", self._logs):
            path.mkdir(parents=True, mode=0o700)
        self.clock, self.disk = Clock(), Disk()
        self.disk.adopt(folder)
        self.loop = StillLoop(self.clock)
        self.witness = Witness(play, self._durable_log)
        self._books = Books(play, self.witness.committed)
        self.engine: Engine | None = None
        self.agent: Agent | None = None
        self.supervisors: list[Supervisor] = []
        self.line: Line | None = None
        self.boot = 1
        self.log: list[str] = []
        self.unreachable_until = 0.0
        self._server_from, self._agent_from, self._call_from = 0.0, 0.0, 0.0
        self.stale: list[tuple[Line, str, bytes]] = []
        """Copies of frames of former connections, for the next one."""
        self.lossy = False
        """Were frames lost or doubled within the present connection?"""
        self._stalls_until = 0.0
        self._dies = False
        self.disk.before_sync = self._before_sync

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Put the package on this world's clock, disk and processes."""
        with self.clock.told(), self.disk.watching(), played(self._sweep, self._boot_id):
            yield

    def run(self, interfere: "Interfere") -> None:
        """Live until all is settled; `interfere` may act before each event, and says whether it will act again."""
        with self.awake():
            try:
                self.loop.run_until_complete(self._run(interfere))
            finally:
                self._close()

    async def _run(self, interfere: "Interfere") -> None:
        acts, point, idle, deadline = True, 0, 0, math.inf
        await self._come_to_rest()
        while not self._is_settled() or self.lossy:
            names = [name for name, _ in self._events()]
            if not (idle and names == [PASSES]):
                acts_again = await interfere(self, point, names)
                await self._come_to_rest()
                point += 1
                if acts and not acts_again:
                    self._dies = False
                    deadline = max(self.clock.now, self.unreachable_until) + SETTLES_WITHIN
                acts = acts_again
            idle = idle + 1 if names == [PASSES] else 0
            if self.lossy and idle and (not acts or idle > IDLE_MAX or self._is_settled()):
                self._heal()
            await self._happen()
            if self.clock.now > deadline:
                self.witness.blame("G10", f"not settled in {SETTLES_WITHIN:g} s: {self._left()}")
                self._raise_breach()
            assert len(self.log) < EVENTS_MAX, "the world never comes to rest"
        self.witness.ended(self._books.attempts, self._kept_logs())
        self._raise_breach()

    # Events.

    def _events(self) -> list[Event]:
        """Return what can happen now, the default first."""
        found: list[Event] = []
        line = self.line
        if line is not None and line.to_agent:
            found.append((f"> {title(line.to_agent[0])}", self._to_agent))
        if line is not None and line.to_server:
            found.append((f"< {title(line.to_server[0])}", self._to_server))
        if self.loop.jobs:
            found.append((f"server {self.loop.jobs[0].what}", self._job))
        if self.engine is None and self.clock.now >= self._server_from:
            found.append(("server starts", self._start_server))
        if self.agent is None and self.clock.now >= self._agent_from:
            found.append(("agent starts", self._start_agent))
        if self._may_call():
            found.append(("agent calls", self._call))
        ready = [each for each in self.supervisors if each.next and self.clock.now >= self._stalls_until]
        found += [(f"supervisor {each.next}", partial(self._step, each)) for each in ready]
        return found or [(PASSES, self._pass_time)]

    async def _happen(self, which: int = 0) -> None:
        events = self._events()
        name, happens = events[min(which, len(events) - 1)]
        self.log.append(f"{self.clock.now:.3f} {name}")
        happens()
        await self._come_to_rest()

    async def happen_second(self) -> None:
        """Let what would happen second happen first."""
        await self._happen(1)

    def _to_agent(self) -> None:
        assert self.line is not None
        self.line.deliver_to_agent(self.line.to_agent.popleft())

    def _to_server(self) -> None:
        assert self.line is not None
        self.line.deliver_to_server(self.line.to_server.popleft())

    def _job(self) -> None:
        job = self.loop.jobs.popleft()
        try:
            found = job.work()
        except Exception as error:  # goes to whoever waits for it
            if job.done.cancelled():
                raise
            job.done.set_exception(error)
        else:
            if not job.done.cancelled():
                job.done.set_result(found)

    def _step(self, supervisor: Supervisor) -> None:
        try:
            supervisor.step()
        except (Killed, FileNotFoundError):  # its ticket was removed before it came to the claim
            supervisor.die()

    def _start_server(self) -> None:
        self.witness.kept(self._kept_logs())
        self.engine = Engine(self._books, self._logs, self.loop)

    def _start_agent(self) -> None:
        try:
            self.agent = Agent(self.state, self._fork, str(self.boot))
        except Killed:
            self._agent_from = self.clock.now + RESTART_AFTER

    def _may_call(self) -> bool:
        agent = self.agent
        is_free = agent is not None and not agent.is_connected and self.engine is not None
        return is_free and self.clock.now >= max(self._call_from, self.unreachable_until)

    def _call(self) -> None:
        assert self.agent is not None
        assert self.engine is not None
        former, self.lossy = self.line, False
        if former is not None and not former.is_cut and former.to_server:
            former.to_server.clear()
        self._call_from = self.clock.now + RESTART_AFTER
        self.line = Line(self.loop, self._said_by_server)
        self.engine.take(self.line)
        self.agent.call(self.line)

    def _pass_time(self) -> None:
        moments = [self._stalls_until, self._server_from, self._agent_from, self._call_from, self.unreachable_until]
        if self.agent is not None and (patience := self.agent.patience) is not None:
            moments.append(self.clock.now + patience)
        if (timer := self.loop.next_timer) is not None:
            moments.append(timer)
        self.clock.now = min(moment for moment in moments if moment > self.clock.now) + 1e-6

    async def _come_to_rest(self) -> None:
        """Let everybody do what he can by himself."""
        moved = True
        while moved:
            moved = await self.loop.come_to_rest()
            if self.agent is not None:
                moved |= self._agent_rests()
            for each in list(self.supervisors):
                moved |= self._supervisor_hears(each)
            self.supervisors = [each for each in self.supervisors if each.lives]
            moved |= self._collect()
        if self.engine is not None:
            self.engine.raise_failure()
        self._raise_breach()

    def _agent_rests(self) -> bool:
        assert self.agent is not None
        try:
            return self.agent.come_to_rest()
        except Killed:
            self.kill_agent()
            return True

    def _supervisor_hears(self, supervisor: Supervisor) -> bool:
        try:
            return supervisor.lives and supervisor.hear()
        except Killed:
            supervisor.die()
            return True

    def _collect(self) -> bool:
        """Take what the agent has said; signs of life are no events."""
        line = self.line
        if line is None:
            return False
        fresh = len(line.to_server)
        moved = line.collect()
        for frame in list(line.to_server)[fresh:]:
            self.witness.said_by_agent(frame)
        for queue, deliver in ((line.to_agent, line.deliver_to_agent), (line.to_server, line.deliver_to_server)):
            for frame in [each for each in queue if _is_heartbeat(each)]:
                queue.remove(frame)
                deliver(frame)
                moved = True
        if self.stale and self.agent is not None and self.agent.stands and not line.is_cut:
            moved |= self._repeat_stale(line)
        return moved

    def _repeat_stale(self, line: Line) -> bool:
        """Put frames of former connections behind those of the one that stands now; say whether there were any."""
        stale = [each for each in self.stale if each[0] is not line]
        self.stale = [each for each in self.stale if each[0] is line]
        for _, way, frame in stale:
            self._queue(way).append(frame)
        return bool(stale)

    # Faults.

    def drop(self, way: str) -> None:
        """Lose the next frame."""
        self._queue(way).popleft()
        self.lossy = True

    def double(self, way: str) -> None:
        """Deliver the next frame once more behind those that follow it, and again in the next connection."""
        queue = self._queue(way)
        queue.append(queue[0])
        assert self.line is not None
        self.stale.append((self.line, way, queue[0]))
        self.lossy = True

    def cut(self, *, agent_knows: bool = True, server_knows: bool = True, seconds: float = 0.0) -> None:
        """Cut the connection; nobody can call for so many seconds."""
        assert self.line is not None
        self.line.cut(agent_knows=agent_knows, server_knows=server_knows)
        self.unreachable_until = max(self.unreachable_until, self.clock.now + seconds)

    async def kill_server(self, *, after_next: bool = False, power: bool = False) -> None:
        """Kill the engine: before its next job for the disk or, unseen by it, after; `power`: lose what is not synced."""
        assert self.engine is not None
        if after_next and self.loop.jobs:
            self.loop.jobs.popleft().work()
        if power and self.line is not None:
            self.line.cut(agent_knows=False, server_knows=True)
        await self.engine.die()
        self.engine = None
        if power:
            self.disk.cut_power(self._logs)
        self._server_from = self.clock.now + RESTART_AFTER

    def kill_agent(self) -> None:
        """Kill the agent; supervisors go on."""
        assert self.agent is not None
        self.agent.die()
        self.agent = None
        self._agent_from = self.clock.now + RESTART_AFTER

    def kill_supervisor(self) -> None:
        """Kill a supervisor that has a ticket; its script goes on."""
        next(each for each in self.supervisors if each.next).die()

    def die_at_next_sync(self) -> None:
        """Let whoever syncs next on the worker die before it is done."""
        self._dies = True

    def stall(self) -> None:
        """Let supervisors stand still until an agent that is killed now is there again."""
        self._stalls_until = self.clock.now + RESTART_AFTER

    def reboot(self) -> None:
        """Let the worker's machine lose power."""
        if self.line is not None:
            self.line.cut(agent_knows=True, server_knows=False)
        if self.agent is not None:
            self.kill_agent()
        for each in self.supervisors:
            if each.lives:
                each.die()
        self.supervisors.clear()
        self.witness.alive.clear()
        self.disk.cut_power(self.state)
        self.boot += 1

    def cancel(self) -> None:
        """Let a person cancel the task."""
        assert self.engine is not None
        self.engine.cancel()

    def wait(self, seconds: float) -> None:
        """Let time pass while nobody does anything: everybody is slow."""
        self.clock.now += seconds

    def under_way(self, way: str) -> bool:
        """Is there a frame to be lost or doubled?"""
        return self.line is not None and bool(self._queue(way)) and self._queue(way)[0] != END

    @property
    def is_cancellable(self) -> bool:
        """Would a person cancel the task now?"""
        task = self._books.task
        return self.engine is not None and not task.state.ended and not task.cancel_by

    def _queue(self, way: str) -> deque[bytes]:
        assert self.line is not None
        return self.line.to_agent if way == ">" else self.line.to_server

    def _heal(self) -> None:
        """End what would never end by itself: a connection that has lost or doubled frames is none."""
        self.lossy = False
        if self.line is not None and not self.line.is_cut:
            self.cut()

    # The end.

    def _is_settled(self) -> bool:
        if self.engine is None or self.agent is None or not self.agent.stands or self.loop.jobs:
            return False
        if self.line is None or self.line.to_agent or self.line.to_server or self.engine.wishes:
            return False
        if any(each.next for each in self.supervisors):
            return False
        return self._books.task.state.ended and not self.agent.tickets and not self._left()

    def _left(self) -> str:
        """Say what is left anywhere."""
        left = {
            "task": "" if self._books.task.state.ended else self._books.task.state,
            "attempts": [row.ticket for row in self._books.attempts if row.finished_at is None],
            "wishes": self.engine.wishes if self.engine is not None else [],
            "claims": self._books.read(claims.held) or self._books.read(claims.mismatches),
            "holders": sorted(self.engine.grounds.leasing.holders) if self.engine is not None else [],
            "scripts": sorted(self.witness.alive),
            "lives": self.agent.tickets if self.agent is not None else [],
            "folders": sorted(path.name for path in (self.state / "tickets").iterdir()),
        }
        return ", ".join(f"{name} {value}" for name, value in left.items() if value)

    def _close(self) -> None:
        if self.agent is not None:
            self.agent.die()
        for each in self.supervisors:
            if each.lives:
                each.die()
        if self.engine is not None:
            self.loop.run_until_complete(self.engine.die())
        self._books.close()
        self.loop.close()

    # What the ends see of the world.

    def _fork(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.supervisors.append(Supervisor(theirs, self.state / "tickets", lambda: str(self.boot), self.witness))
        return ours

    def _sweep(self, cookie: str) -> bool:
        self.witness.kill(TicketId(cookie))
        return True

    def _boot_id(self) -> str:
        return str(self.boot)

    def _said_by_server(self, frame: bytes) -> None:
        if frame != END:
            self.witness.said_by_server(frame)

    def _before_sync(self, path: Path) -> None:
        if self._dies and path.readlink().is_relative_to(self.state):
            self._dies = False
            raise Killed

    def _durable_log(self, ticket: TicketId) -> bytes:
        return self.disk.durable(self._logs, f"{ticket}.journal")

    def _kept_logs(self) -> dict[TicketId, bytes]:
        return {TicketId(path.name.removesuffix(".journal")): path.read_bytes() for path in self._logs.iterdir()}

    def _raise_breach(self) -> None:
        if self.witness.broken is not None:
            raise self.witness.broken


def _is_heartbeat(frame: bytes) -> bool:
    return control_of(frame).get("message") in HEARTBEATS
