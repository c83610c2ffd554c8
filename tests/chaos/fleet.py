"""A server that is kept running and the agents enrolled with it: real processes, each on the machine that it is given."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.live import WorkerHealth
from reconciler.protocol.tickets import TicketId
from reconciler.store import worker_status
from tests.chaos.processes import PATIENCE, Process, until
from tests.chaos.space import Apply, Space

CREDENTIALS = "RECONCILE_PROXY_CREDENTIALS"
FOLLOWS_WITHIN = 60.0  # seconds that a server has to start, and agents to call again: their patience grows to 30 s


@dataclass(frozen=True, slots=True)
class Machine:
    """Where processes run: the command that leads there, and the address at which others find them."""

    address: str = "127.0.0.1"
    lead: tuple[str, ...] = ()


HERE = Machine()


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class Agent:
    """One agent's state directory and the process that works on it."""

    space: Space
    name: str
    machine: Machine = HERE
    process: Apply | None = None

    @property
    def state(self) -> Path:
        return self.space.home / self.name

    def command(self, verb: str, *options: str) -> list[str]:
        """Return the command line of one of the agent's commands, on its machine."""
        program = (sys.executable, "-m", "reconciler.agent")
        return [*self.machine.lead, *program, verb, "--state", str(self.state), *options]

    def start(self) -> None:
        """Start the agent, which reaches its server or is reached when it can."""
        self.process = self.space.run_beside(*self.command("run"))

    def kill(self) -> None:
        """Kill the agent's process alone, which did not end by itself before."""
        assert self.process is not None, "there is an agent to kill"
        assert self.process.process.poll() is None, self.process.text()
        self.process.kill()

    def crash(self, *, loses_disk: bool = False) -> None:
        """End everything on its machine at once; a lost disk comes back from a backup that holds settings and keys."""
        for found in (*self.scripts(), *self.family()):
            found.signal()
        assert self.process is not None, "there is an agent to kill"
        self.process.kill()
        if loses_disk:
            for name in ("tickets", "tombstones"):
                shutil.rmtree(self.state / name, ignore_errors=True)
            (self.state / "memory").unlink(missing_ok=True)
            (self.state / "tickets").mkdir(mode=0o700)

    def tickets(self) -> list[TicketId]:
        """Return the tickets in its care, and those that it is about to remove."""
        return [TicketId(name) for name in os.listdir(self.state / "tickets")]

    # Its processes: the agent, the nursery that it forked, the shims that the nursery forked, and their scripts.

    def family(self) -> Iterator[Process]:
        """Yield all processes of the agent's program that are alive."""
        mark = f"--state {self.state}"
        return (found for found in self.space.family.members() if mark in found.command)

    def shims(self) -> list[Process]:
        """Return the supervisors: each leads a session of its own."""
        return [found for found in self.family() if found.session == found.pid]

    def nursery(self) -> list[Process]:
        """Return the process that forks supervisors, unless the agent is dead."""
        return [found for found in self.family() if self.process and found.parent == self.process.pid]

    def scripts(self) -> list[Process]:
        """Return the processes that a supervisor has started."""
        shims = {shim.pid for shim in self.shims()}
        return [found for found in self.space.family.members() if found.parent in shims]


@dataclass(slots=True)
class Fleet:
    """One installation: the space that its server follows, the server, and its agents."""

    space: Space
    machine: Machine = HERE
    port: int = 10943
    server: Apply | None = None
    agents: dict[str, Agent] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where polling agents call."""
        return f"{self.machine.address}:{self.port}"

    def prepare(self, *allowed: str) -> None:
        """Make the space a repository, and let the server dial loopback; `allowed` are further lines of its settings."""
        (self.space.home / "serve.toml").write_text("\n".join(('[network]\ndial = ["127.0.0.0/8"]', *allowed)))
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def commit(self) -> None:
        """Commit everything that is declared."""
        self._git("add", "--all")
        self._git("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--message=a change")

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.space.folder, env=self.space.environment, check=True)

    def serve(self) -> None:
        """Start the server and wait until it serves."""
        server = self.start_server()
        until(lambda: "serving" in server.text() or server.process.poll() is not None, "the server", FOLLOWS_WITHIN)
        assert server.process.poll() is None, server.text()

    def start_server(self) -> Apply:
        """Start the server."""
        options = ("--agents", self.address, "--config", str(self.space.home / "serve.toml"), "--new-state")
        self.server = self.space.run_beside(*self.machine.lead, "reconcile", "serve", *options)
        return self.server

    def kill_server(self) -> None:
        """Kill the server's process alone, which did not end by itself before."""
        assert self.server is not None, "there is a server to kill"
        assert self.server.process.poll() is None, self.server.text()
        self.server.kill()

    def enrol(
        self, name: str, pool: str, *options: str, machine: Machine = HERE, server: str = "", credentials: str = ""
    ) -> str:
        """Enrol an agent by a new token and return the document that it prints; `server` where it is to call."""
        token = self._printed("reconcile", "token", "create", "--worker", name, "--pool", pool)
        agent = self.agents[name] = Agent(self.space, name, machine)
        where = ("--server", server or self.address, "--token-file", "-", *options)
        return self._printed(*agent.command("enrol", *where), stdin=token, **{CREDENTIALS: credentials})

    def declare(self, name: str, document: str) -> None:
        """Write a Worker document into the space; `commit` is still to come."""
        (self.space.folder / f"{name}.yaml").write_text(document)

    def _printed(self, *command: str, stdin: str = "", **environment: str) -> str:
        own = {**self.space.environment, **{name: value for name, value in environment.items() if value}}
        done = subprocess.run(
            command, cwd=self.space.folder, env=own, input=stdin, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def connected(self) -> set[str]:
        """Return the workers that the server takes for healthy."""
        statuses = self.space.read(worker_status.statuses, {})
        return {name for name, status in statuses.items() if status.health is WorkerHealth.HEALTHY}

    def until_connected(self) -> None:
        """Wait until every agent has its session."""
        until(lambda: self.connected() >= self.agents.keys(), "all agents", FOLLOWS_WITHIN)
