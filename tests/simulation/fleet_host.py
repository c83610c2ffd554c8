"""One worker's machine in a fleet: its agent, the owners of its scripts, its disk, and its connection to the server."""

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.protocol.tickets import Ending, TicketId
from tests.simulation.agent_end import Agent
from tests.simulation.network import END, HEARTBEATS, Line, control_of, title
from tests.simulation.server_end import Killed
from tests.simulation.supervisor import Supervisor

if TYPE_CHECKING:
    from tests.simulation.fleet_node import Node
    from tests.simulation.fleet_world import Event, FleetWorld

RESTART_AFTER = 1.0
"""Seconds until a killed agent is there again, and until an agent calls again."""


class Script:
    """The script of one supervisor at a time: it lasts as long as the play says."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self.ends_at = 0.0

    def spawn(self, ticket: TicketId, cookie: str) -> list[bytes]:
        world = self._host.world
        pieces = world.witness.spawn_on(ticket, self._host.name)
        self.ends_at = world.clock.now + world.witness.conduct_of(ticket).seconds
        return list(pieces)

    def exit(self, ticket: TicketId) -> int:
        return self._host.world.witness.exit(ticket)

    def kill(self, ticket: TicketId) -> None:
        self._host.world.witness.kill(ticket)

    def wrote(self, ticket: TicketId, journal: bytes) -> None:
        self._host.world.witness.wrote(ticket, journal)

    def published(self, ticket: TicketId, ending: Ending) -> None:
        self._host.world.witness.published(ticket, ending)


class Wire(Line):
    """A connection whose signs of life are no events, and whose frames may be held up."""

    def __init__(self, host: "Host", node: "Node") -> None:
        self._host, self.node = host, node
        super().__init__(node.loop, partial(host.world.said_by_server, node))

    def takes_from_server(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._said(frame)
            if is_heartbeat(frame) and not self._host.is_held_up:
                self.deliver_to_agent(frame)
                self._host.stir()
            else:
                self.to_agent.append(frame)

    def collect(self) -> bool:
        fresh = len(self.to_server)
        moved = super().collect()
        for frame in list(self.to_server)[fresh:]:
            self._host.world.witness.said_by_agent(frame)
        if not self._host.is_held_up:
            for frame in [each for each in self.to_server if is_heartbeat(each)]:
                self.to_server.remove(frame)
                self.deliver_to_server(frame)
        return moved


class Host:
    """One worker's machine; what it can do next are its events."""

    def __init__(self, world: "FleetWorld", name: str, folder: Path) -> None:
        self.world, self.name, self._state = world, name, folder
        for path in (folder / "tickets", folder / "tombstones"):
            path.mkdir(parents=True, mode=0o700)
        self.agent: Agent | None = None
        self.supervisors: list[Supervisor] = []
        self._scripts: dict[Supervisor, Script] = {}
        self.line: Wire | None = None
        self._formers: list[Wire] = []  # that other servers do not know yet to have ended
        self.boots = 1
        self.agent_from = self.call_from = self.unreachable_until = self.held_up_until = self.stalls_until = 0.0
        self._stale: list[tuple[Wire, bytes]] = []
        self.lossy = False
        """Were frames doubled within the present connection?"""
        self.dies = False
        """Does whoever syncs next die before it is done?"""
        self._stirred = True

    @property
    def boot(self) -> str:
        """Name the present life of the machine."""
        return f"{self.name}-{self.boots}"

    @property
    def is_held_up(self) -> bool:
        """Does the network deliver nothing just now?"""
        return self.world.clock.now < self.held_up_until

    @property
    def stands(self) -> bool:
        """Is a connection there that neither end has given up?"""
        return self.line is not None and not self.line.is_cut

    def owns(self, path: Path) -> bool:
        """Is this a file of this machine?"""
        return path.is_relative_to(self._state)

    def stir(self) -> None:
        """Let whoever lives here look whether something came."""
        self._stirred = True

    # Events.

    def events(self) -> "Iterator[Event]":
        """Yield what can happen here now."""
        now = self.world.clock.now
        yield from self._deliveries()
        if self.agent is None and now >= self.agent_from:
            yield f"{self.name} starts", self._start
        if self._may_call():
            for node in self.world.open_nodes:
                yield f"{self.name} calls{self.world.at(node)}", partial(self._call, node)
        if now >= self.stalls_until:
            for each in self.supervisors:
                if each.next and self._is_ready(each):
                    yield f"{self.name} supervisor {each.next}", partial(self._step, each)

    def _deliveries(self) -> "Iterator[Event]":
        line = self.line
        if line is None or self.world.clock.now < self.held_up_until:
            return
        if line.to_agent:
            yield f"{self.name} > {title(line.to_agent[0])}", self._to_agent
        if line.to_server and line.node.runs:
            yield f"{self.name} < {title(line.to_server[0])}", partial(self._to_server, line)
        for former in self._formers:
            if former.to_server and former.node.runs:
                what = f"{self.name} to {former.node.name} < {title(former.to_server[0])}"
                yield what, partial(self._to_server, former)

    def moments(self) -> Iterator[float]:
        """Yield when time itself changes something here."""
        yield from (self.agent_from, self.call_from, self.unreachable_until, self.held_up_until, self.stalls_until)
        for each in self.supervisors:
            if each.next == "exit":
                yield self._scripts[each].ends_at
        if self.agent is not None and (patience := self.agent.patience) is not None:
            yield self.world.clock.now + patience

    def _is_ready(self, supervisor: Supervisor) -> bool:
        if supervisor.next != "exit" or self.world.clock.now >= self._scripts[supervisor].ends_at:
            return True
        shim = supervisor._shim
        return shim is not None and shim.stopping is not None

    def _to_agent(self) -> None:
        assert self.line is not None
        self.line.deliver_to_agent(self.line.to_agent.popleft())
        self.stir()

    def _to_server(self, line: Wire) -> None:
        line.deliver_to_server(line.to_server.popleft())

    def _start(self) -> None:
        self.world.acting = self
        self.stir()
        try:
            self.agent = Agent(self._state, self._fork, self.boot)
        except Killed:
            self.agent_from = self.world.clock.now + RESTART_AFTER

    def _may_call(self) -> bool:
        agent, now = self.agent, self.world.clock.now
        is_free = agent is not None and not agent.is_connected and self.name not in self.world.listening
        return is_free and now >= max(self.call_from, self.unreachable_until)

    def _call(self, node: "Node") -> None:
        assert node.engine is not None
        self.call_from = self.world.clock.now + RESTART_AFTER
        node.engine.take(self.name, self._connect(node))

    def answer(self, node: "Node") -> Wire | None:
        """Answer a server that dials; None where nobody can."""
        if self.agent is None or self.world.clock.now < self.unreachable_until:
            return None
        return self._connect(node)

    def _connect(self, node: "Node") -> Wire:
        assert self.agent is not None
        former, self.lossy = self.line, False
        if former is not None and not former.is_cut:
            if former.node is node:
                former.to_server.clear()
            else:
                self._formers.append(former)
        self.line = Wire(self, node)
        self.world.acting = self
        self.agent.call(self.line)
        self.stir()
        return self.line

    def _step(self, supervisor: Supervisor) -> None:
        self.stir()
        try:
            supervisor.step()
        except (Killed, FileNotFoundError):  # its ticket was removed before it came to the claim
            supervisor.die()

    def rest(self) -> bool:
        """Let everybody here do what he can by himself, if anything came; say whether anyone did."""
        if not self._stirred:
            return False
        self._stirred = False
        self.world.acting = self
        moved = self._agent_rests() if self.agent is not None else False
        for each in list(self.supervisors):
            moved |= self._hears(each)
        self.supervisors = [each for each in self.supervisors if each.lives]
        self._scripts = {each: self._scripts[each] for each in self.supervisors}
        self._formers = [former for former in self._formers if former.server_holds and not former.is_cut]
        for former in self._formers:
            moved |= former.collect()
        if self.line is not None:
            moved |= self.line.collect()
            if self._stale and self.agent is not None and self.agent.stands and self.stands:
                moved |= self._repeat_stale(self.line)
        self._stirred |= moved
        return moved

    def _agent_rests(self) -> bool:
        assert self.agent is not None
        try:
            return self.agent.come_to_rest()
        except Killed:
            self.kill_agent()
            return True

    def _hears(self, supervisor: Supervisor) -> bool:
        try:
            return supervisor.lives and supervisor.hear()
        except Killed:
            supervisor.die()
            return True

    def _repeat_stale(self, line: Wire) -> bool:
        """Put frames of former connections behind those of the one that stands now; say whether there were any."""
        stale = [frame for former, frame in self._stale if former is not line]
        self._stale = [each for each in self._stale if each[0] is line]
        line.to_server += stale
        return bool(stale)

    def _fork(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        script = Script(self)
        supervisor = Supervisor(theirs, self._state / "tickets", lambda: self.boot, script)
        self._scripts[supervisor] = script
        self.supervisors.append(supervisor)
        return ours

    # Faults.

    def double(self) -> None:
        """Deliver the next frame of each way once more, behind those that follow it.

        What the worker says comes in the next connection, too; what the server says cannot, since nothing is read from
        a connection after its successor.
        """
        assert self.line is not None
        for queue in (self.line.to_agent, self.line.to_server):
            if queue and queue[0] != END:
                queue.append(queue[0])
                self.lossy = True
        if self.line.to_server and self.line.to_server[0] != END:
            self._stale.append((self.line, self.line.to_server[0]))

    def cut(self, *, agent_knows: bool = True, server_knows: bool = True, seconds: float = 0.0) -> None:
        """Cut the connection; nobody can call for so many seconds."""
        assert self.line is not None
        self.line.cut(agent_knows=agent_knows, server_knows=server_knows)
        self.unreachable_until = max(self.unreachable_until, self.world.clock.now + seconds)
        self.lossy = False
        self.stir()

    def kill_agent(self) -> None:
        """Kill the agent; supervisors go on."""
        assert self.agent is not None
        self.agent.die()
        self.agent = None
        self.agent_from = self.world.clock.now + RESTART_AFTER
        self.stir()

    def reboot(self, seconds: float) -> None:
        """Let the machine lose power for so long."""
        for line in self._lines():
            line.cut(agent_knows=True, server_knows=False)
        if self.agent is not None:
            self.kill_agent()
        self.end()
        self.world.witness.died_on(self.name)
        self.world.disk.cut_power(self._state)
        self.boots += 1
        self.agent_from = self.world.clock.now + seconds

    def lose_server(self, node: "Node") -> None:
        """Let a server lose power."""
        for line in self._lines():
            if line.node is node:
                line.cut(agent_knows=False, server_knows=True)

    def _lines(self) -> list[Wire]:
        return [*self._formers, *([self.line] if self.line is not None else [])]

    def end(self) -> None:
        """End every process of the machine."""
        if self.agent is not None:
            self.agent.die()
            self.agent = None
        for each in self.supervisors:
            if each.lives:
                each.die()
        self.supervisors.clear()
        self._scripts.clear()

    # The end.

    def left(self) -> str:
        """Say what is still to come here; empty where nothing is."""
        if self.agent is None or not self.agent.stands or self.line is None:
            return "no session"
        if self.line.node is not self.world.leader:
            return "a session with another server"
        if self.line.to_agent or self.line.to_server or any(each.next for each in self.supervisors):
            return "under way"
        folders = sorted(path.name for path in (self._state / "tickets").iterdir())
        return ", ".join(self.agent.tickets or folders)


def is_heartbeat(frame: bytes) -> bool:
    """Is this a sign of life?"""
    return control_of(frame).get("message") in HEARTBEATS
