"""A server and agents as they are in use: real processes that meet over TLS on the loopback."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import RECONCILE, ROOT
from benchmarks.spaces import commit

PATIENCE = 120.0  # seconds; what takes longer is broken
LOOK_AGAIN = 0.02  # seconds between two looks: another process gives us no event
TICKS = os.sysconf("SC_CLK_TCK")
AGENT = (sys.executable, "-I", "-m", "reconciler.agent")

POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: agents}\nspec: {}\n"


def until(holds: Callable[[], bool], what: str) -> float:
    """Look until `holds()`; return the seconds that it took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > PATIENCE:
            raise TimeoutError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(LOOK_AGAIN)
    return time.monotonic() - begun


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    """Return the seconds that a process has kept a core busy."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(slots=True)
class Installation:
    """A space with its server and one polling agent at most; everything lies under `home`."""

    home: Path
    port: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    server: "subprocess.Popen[bytes] | None" = None
    agent: "subprocess.Popen[bytes] | None" = None
    program: Sequence[str] = AGENT
    environment: dict[str, str] | None = None

    @property
    def space(self) -> Path:
        """The repository."""
        return self.home / "space"

    @property
    def data(self) -> Path:
        """The state."""
        return self.home / "data"

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self.server is not None, "there is a server"
        return self.server.pid

    def serve(self) -> None:
        """Start the server, and wait until it is healthy."""
        options = ("--agents", f"127.0.0.1:{self.port}", "--http", f"127.0.0.1:{self.http}", "--new-state")
        command = [str(RECONCILE), "serve", "-C", str(self.space), "--data", str(self.data), *options]
        with (self.home / "server.log").open("ab") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, env=self._variables)
        until(self.is_healthy, "the server")

    def enrol(self, *, slots: int) -> None:
        """Enrol the agent `measured`, declare it, and let it connect."""
        state = str(self.home / "agent")
        words = ("token", "create", "--worker", "measured", "--pool", "agents")
        token = _printed(str(RECONCILE), *words, "-C", str(self.space), "--data", str(self.data))
        enrolment = ("enrol", "--state", state, "--server", f"127.0.0.1:{self.port}", "--token-file", "-")
        document = _printed(*self.program, *enrolment, stdin=token)
        (self.space / "measured.yaml").write_text(document.rstrip("\n") + f"\n  slots: {slots}\n")
        commit(self.space)
        with (self.home / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [*self.program, "run", "--state", state], stderr=log, env=self._variables, cwd=ROOT
            )
        until(lambda: self.connected() == 1, "the agent")

    @property
    def _variables(self) -> dict[str, str]:
        return {**os.environ, **(self.environment or {})}

    def deploy(self, document: str) -> None:
        """Declare a deployment and wait for the end of its task, the only one."""
        (self.space / "deployment.yaml").write_text(document)
        commit(self.space)
        until(lambda: bool(self.rows("SELECT 1 FROM tasks WHERE state = 'succeeded'")), "the deployment")

    def rows(self, query: str) -> list[tuple[float, ...]]:
        """Read the state."""
        with closing(sqlite3.connect(f"file:{self.data}/state.db?mode=ro", uri=True)) as state:
            return state.execute(query).fetchall()

    def is_healthy(self) -> bool:
        """Say whether the server answers; raises ChildProcessError where it has died."""
        if self.server is not None and self.server.poll() is not None:
            raise ChildProcessError((self.home / "server.log").read_text()[-2000:])
        try:
            return b'"ok"' in self.fetch("healthz")
        except OSError:
            return False

    def connected(self) -> int:
        """Return how many agents are connected; 0 while the server is away, or has only just begun."""
        try:
            return int(json.loads(self.fetch("healthz")).get("agents", 0))
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """Return one of the server's counters."""
        found = re.search(rf"^reconciler_agent_{name}_total{{.*}} (\S+)$", self.fetch("metrics").decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def fetch(self, page: str) -> bytes:
        """Return a page of the server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{page}", timeout=PATIENCE) as answer:
            found: bytes = answer.read()
            return found

    def close(self) -> None:
        """End server and agent."""
        for process in (self.agent, self.server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=PATIENCE)


@contextmanager
def installed(
    home: Path, *, slots: int, environment: dict[str, str] | None = None, agent: Sequence[str] = AGENT
) -> Iterator[Installation]:
    """Give a server with one agent that is connected; `agent` is the program that runs in its place."""
    home.mkdir()
    installation = Installation(home, program=agent, environment=environment)
    begin(installation.space, POOL)
    try:
        installation.serve()
        installation.enrol(slots=slots)
        yield installation
    finally:
        installation.close()


def begin(space: Path, document: str) -> None:
    """Make a committed repository of one document."""
    space.mkdir()
    subprocess.run(["git", "init", "-q", str(space)], check=True)
    (space / "space.yaml").write_text(document)
    commit(space)


def _printed(*command: str, stdin: str = "") -> str:
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
