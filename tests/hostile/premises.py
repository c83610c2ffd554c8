"""A real server with an honest agent at work, and what an attack on it is judged by: health, memory, metrics, events."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.api.sharing import LOOK_SECONDS
from reconciler.execute.logs import LogStore
from reconciler.model.live import Attempt, AttemptState, Event, StepRun, StepState, StoredArtifact, TaskId
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import TicketId
from reconciler.store import attempts, audit, objects, results, tasks
from reconciler.store.reader import open_for_reading
from tests.declare.repository import Repository

PATIENCE = 20.0  # seconds; a test that waits longer has failed
LOOK_AGAIN = 0.02  # seconds between two looks: another process gives us no event
BIN = Path(sys.executable).parent

SPACE = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {name: test}
spec: {}
---
apiVersion: reconciler/v1
kind: WorkerPool
metadata: {name: honest}
spec: {}
---
apiVersion: reconciler/v1
kind: WorkerPool
metadata: {name: hostile}
spec: {}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: work}
spec:
  environments: [test]
  process:
    - name: Work
      location: {runOn: workerPool, pool: honest}
      script:
        syntax: sh
        body: |
          i=0; until [ -e %s ]; do i=$((i+1)); echo line $i; sleep 0.05; done
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: bait}
spec:
  environments: [test]
  process:
    - name: Bait
      location: {runOn: workerPool, pool: hostile}
      retry: {attempts: 100, backoff: 0s, onWorkerLost: true}
      outputLimit: {size: 1KiB}
      script: {syntax: sh, body: "%s"}
"""
DEPLOYMENT = """\
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: %s-test}
spec: {project: %s, environment: test, release: "1"}
"""
LARGE_SCRIPT = "echo " + "x" * (100 << 10)
"""Over 64 KiB, so that it travels as a file."""

POLLING = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: %s}
spec: {pools: [%s], endpoint: {polling: {subscription: "poll://hostile-%s", thumbprints: ["%s"]}}}
"""
LISTENING = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: %s}
spec: {pools: [hostile], endpoint: {listening: {host: "%s", port: %d, thumbprints: ["SHA256:%sA"]}}}
"""


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Look until `holds()` is true; fails the test when patience ends."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(LOOK_AGAIN)


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class Premises:
    """One installation: the repository, the server that follows it, and the honest agent `w1` with its endless step."""

    home: Path
    agents_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    server: "subprocess.Popen[bytes] | None" = None
    honest: "subprocess.Popen[bytes] | None" = None

    @property
    def root(self) -> Path:
        return self.home / "space"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def gate(self) -> Path:
        """The honest step ends when this file is there."""
        return self.home / "gate"

    def open(self) -> None:
        """Start the server and the honest agent, and wait until its step runs."""
        repository = Repository(self.root)
        repository.write("space.yaml", SPACE % (self.gate, LARGE_SCRIPT))
        repository.commit()
        self.serve()
        state = str(self.home / "w1")
        agent = (sys.executable, "-I", "-m", "reconciler.agent")
        server = f"127.0.0.1:{self.agents_port}"
        document = run(
            *(*agent, "enrol", "--state", state, "--server", server, "--token-file", "-"),
            stdin=self.token("w1", "honest"),
        )
        self.commit("w1.yaml", document + DEPLOYMENT % ("work", "work"))
        with (self.home / "w1.log").open("wb") as log:
            self.honest = subprocess.Popen([*agent, "run", "--state", state], stderr=log)
        until(lambda: "w1" in self.live_workers(), "the honest step to run")

    def serve(self) -> None:
        """Start the server and wait until it is healthy."""
        options = ("--agents", f"127.0.0.1:{self.agents_port}", "--http", f"127.0.0.1:{self.http_port}", "--new-state")
        command = [BIN / "reconcile", "serve", "-C", self.root, "--data", self.data, *options]
        with (self.home / "server.log").open("ab") as log:
            self.server = subprocess.Popen(command, stderr=log, stdout=log)
        until(self.is_healthy, "the server")

    def finish(self) -> None:
        """Let the honest step end, and see that not a line of it is missing."""
        ticket = self.honest_ticket()
        self.gate.touch()
        until(lambda: self.step(1).state.ended, "the honest step to end")
        assert self.step(1).state is StepState.SUCCEEDED
        lines = self.log(ticket).splitlines()
        assert lines == [f"line {number + 1}" for number in range(len(lines))]

    def close(self) -> None:
        """End everything that was started."""
        self.gate.touch()
        for process in (self.honest, self.server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=PATIENCE)

    def commit(self, path: str, text: str) -> None:
        """Declare something and wait until the server has carried it out."""
        before = self.said.count("carried out")
        repository = Repository(self.root)
        repository.write(path, text)
        repository.commit()
        until(lambda: self.said.count("carried out") > before, f"the commit of {path}")

    def token(self, worker: str, pool: str, *options: str) -> str:
        """Return a new enrolment token."""
        return self.reconcile("token", "create", "--worker", worker, "--pool", pool, *options).strip()

    def reconcile(self, verb: str, *arguments: str) -> str:
        """Run a command on the server's state and return what it prints."""
        return run(str(BIN / "reconcile"), verb, *arguments, "-C", str(self.root), "--data", str(self.data))

    # What an attack is judged by.

    @property
    def said(self) -> str:
        """Everything that the server printed."""
        return (self.home / "server.log").read_text(errors="replace")

    def is_healthy(self) -> bool:
        """Say whether the server answers."""
        assert self.server is None or self.server.poll() is None, f"the server has died:\n{self.said[-4000:]}"
        try:
            return b'"ok"' in self.fetch("healthz")
        except OSError:
            return False

    def fetch(self, page: str) -> bytes:
        """Return a page of the server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/{page}", timeout=PATIENCE) as answer:
            found: bytes = answer.read()
            return found

    def metric(self, name: str) -> float:
        """Return a counter, such as `shed` or `rejects:malformed`; 0 where it was never counted."""
        time.sleep(LOOK_SECONDS)  # as long as an answer is shared with whoever asks
        name, _, code = name.partition(":")
        label = re.escape(f'code="{code}",') if code else ""
        found = re.search(
            rf'^reconciler_agent_{name}_total{{{label}space="[^"]*"}} (\S+)$',
            self.fetch("metrics").decode(),
            re.MULTILINE,
        )
        return float(found[1]) if found else 0.0

    def dismissed(self) -> float:
        """Return how many callers were refused or shed."""
        refused = re.findall(
            r"^reconciler_agent_rejects_total{.*} (\S+)$", self.fetch("metrics").decode(), re.MULTILINE
        )
        return sum(map(float, refused)) + self.metric("shed")

    def memory(self) -> int:
        """Return the server's resident memory in bytes."""
        assert self.server is not None, "there is a server"
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None, status
        return int(found[1]) << 10

    def events(self, action: str) -> list[Event]:
        """Return what the audit holds of an action."""
        return [event for event in self.read(audit.newest, 1000) if event.action == action]

    def read(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Read the state as another process does."""
        reader = open_for_reading(str(self.data))
        assert reader is not None, "the server has made a state"
        with reader:
            return reader.read_now(lambda tx: work(tx, *arguments))

    def live(self) -> list[Attempt]:
        """Return the attempts that have not ended."""
        return [attempt for worker in self.workers() for attempt in self.read(attempts.unfinished_on, worker)]

    def live_workers(self) -> set[str]:
        """Return the workers that a script runs on, as far as the server knows."""
        return {attempt.worker for attempt in self.live() if attempt.state is AttemptState.RUNNING}

    def workers(self) -> set[str]:
        """Return the workers that are declared."""
        return set(self.read(objects.of_kind, "Worker"))

    def honest_ticket(self) -> TicketId:
        """Return the honest agent's ticket."""
        return next(TicketId(attempt.ticket) for attempt in self.live() if attempt.worker == "w1")

    def log(self, ticket: TicketId) -> str:
        """Return what a ticket printed, as it is stored."""
        records = LogStore(self.data / "logs").records(ticket)
        return b"".join(record.data for _, record in records if record.kind is Kind.STDOUT).decode()

    def tries(self) -> list[Attempt]:
        """Return all attempts of the hostile worker's task."""
        found: list[Attempt] = self.read(attempts.attempts, TaskId(2))
        return found

    def artifacts(self) -> list[StoredArtifact]:
        """Return the artifacts of the hostile worker's task."""
        found: list[StoredArtifact] = self.read(results.artifacts, TaskId(2))
        return found

    def step(self, task: int) -> StepRun:
        """Return the first step run of a task."""
        found: StepRun = self.read(tasks.step, TaskId(task), 0)
        return found


def run(*command: str, stdin: str = "") -> str:
    """Run a command to its good end and return what it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout
