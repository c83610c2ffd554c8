"""Two servers on one PostgreSQL: one leads, the other stands by and takes over, whatever becomes of the first."""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import pytest

from reconciler.execute.logs import LogStore
from reconciler.model.live import Attempt, AttemptState, Task, TaskId, TaskState
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import TicketId
from reconciler.store import attempts, tasks
from reconciler.store.database import Transaction
from reconciler.store.leadership import RENEW_EACH, TTL
from reconciler.store.reader import open_for_reading
from tests.chaos.fleet import Agent, free_port
from tests.chaos.processes import PATIENCE, until
from tests.chaos.space import Apply, Space, space_in
from tests.postgres import postgres_server

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

POOL = "far"
TAKES_OVER_WITHIN = TTL + RENEW_EACH
CALLS_WITHIN = 60.0  # an agent's patience between two calls grows to 30 s
AT_ONCE = TTL / 2
"""Seconds in which nobody's lead runs out: what happens within them does not wait for that."""
FOLLOW = """
import os, time

own = open(os.environ["COPY"], "a", buffering=1)
number = 0
while not os.path.exists(os.environ["GATES"] + "/go"):
    number += 1
    for stream in (own, None):
        print("line", number, file=stream, flush=True)
    time.sleep(0.01)
"""
T = TypeVar("T")


@dataclass(slots=True)
class Node:
    """One server with files of its own."""

    name: str
    space: Space
    data: str
    port: int
    web: int
    process: Apply | None = None

    @property
    def files(self) -> Path:
        return self.space.home / self.name

    @property
    def at(self) -> tuple[str, ...]:
        """Where commands of this node work."""
        return ("--data", self.data, "--files", str(self.files))

    def start(self) -> Apply:
        where = ("--agents", f"127.0.0.1:{self.port}", "--http", f"127.0.0.1:{self.web}")
        settings = ("--config", str(self.space.home / "serve.toml"), "--new-state")
        self.process = self.space.start("serve", *self.at, "--node", self.name, *where, *settings)
        return self.process

    def said(self, words: str, times: int = 1) -> bool:
        """Has it said so, so often, since it was started?"""
        assert self.process is not None
        assert self.process.process.poll() is None, self.process.text()
        return self.process.text().count(words) >= times

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def health(self) -> dict[str, Any]:
        with urlopen(f"http://127.0.0.1:{self.web}/healthz", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def log(self, ticket: str) -> bytes:
        """Return what of an attempt's output lies in the files of this node."""
        records = LogStore(self.files / "logs").records(TicketId(ticket))
        return b"".join(record.data for _, record in records if record.kind is Kind.STDOUT)


@dataclass(frozen=True, slots=True)
class Nodes:
    """Two nodes that follow one repository, and what their database says."""

    space: Space
    one: Node
    two: Node

    def read(self, work: Callable[[Transaction], T]) -> T:
        readers = open_for_reading(self.one.data)
        assert readers is not None
        with readers:
            return readers.read_now(work)

    def task(self) -> Task:
        return self.read(lambda tx: tasks.task(tx, TaskId(1)))

    def attempts(self) -> list[Attempt]:
        return self.read(lambda tx: attempts.attempts(tx, TaskId(1)))

    def start(self) -> None:
        """Let the first one lead and the second one stand by, with the same key."""
        self.one.start()
        until(lambda: self.one.said("event=serving"), "the first node", TAKES_OVER_WITHIN)
        self.two.files.mkdir(mode=0o700)
        shutil.copy2(self.one.files / "key", self.two.files / "key")
        self.two.start()
        until(
            lambda: self.two.said('event="stands by" node=two leader=one since=2'), "the second node", TAKES_OVER_WITHIN
        )

    def commit(self) -> None:
        for command in (
            ("git", "add", "--all"),
            (
                "git",
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.com",
                "commit",
                "--quiet",
                "--message=a change",
            ),
        ):
            self.space.run_beside(*command).wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with postgres_server(durable=True) as server, space_in(tmp_path) as space:
        data = server.new_database()
        one, two = (Node(name, space, data, free_port(), free_port()) for name in ("one", "two"))
        (space.home / "serve.toml").write_text(
            '[builtin_worker]\nas_server = true\n[network]\ndial = ["127.0.0.0/8"]\n'
        )
        space.run_beside("git", "init", "--quiet", "--initial-branch=main").wait()
        yield Nodes(space, one, two)


def join(nodes: Nodes) -> None:
    """Let an agent join that calls either node, and commit its document."""
    space, agent = nodes.space, Agent(nodes.space, "far-1")
    token = printed(space, "reconcile", "token", "create", "--worker", "far-1", "--pool", POOL, *nodes.one.at)
    servers = (word for node in (nodes.one, nodes.two) for word in ("--server", f"127.0.0.1:{node.port}"))
    document = printed(space, *agent.command("enrol", *servers, "--token-file", "-"), stdin=token)
    (space.folder / "far-1.yaml").write_text(document)
    agent.start()


def printed(space: Space, *command: str, stdin: str = "") -> str:
    """Run a command to its end and return its output alone."""
    done = subprocess.run(
        command, cwd=space.folder, env=space.environment, input=stdin, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def printing(space: Space, **where: Any) -> None:
    """Declare a step that prints to its log and to a file beside it, until the gate opens."""
    space.declare(
        {
            "name": "Follow",
            "script": {"syntax": "python", "body": FOLLOW},
            "env": {"COPY": str(copy_of(space))},
            **where,
        }
    )


def add_step_from_a_file(space: Space, **where: Any) -> None:
    """Let the project end with a step whose script is a file of the repository."""
    (space.folder / "then.sh").write_text('echo "then" > "$THEN"\n')
    path = space.folder / "shop-project.yaml"
    project = json.loads(path.read_text())
    script, after = {"syntax": "sh", "file": "then.sh"}, {"THEN": str(space.home / "then")}
    project["spec"]["process"].append({"name": "Then", "script": script, "env": after, **where})
    path.write_text(json.dumps(project))


def copy_of(space: Space) -> Path:
    return space.home / "copy"


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until_printed(space: Space, more: int = 100) -> None:
    wanted = lines(copy_of(space)) + more
    until(lambda: lines(copy_of(space)) >= wanted, f"{more} lines")


def test_a_killed_leader_costs_a_deployment_time_only(nodes: Nodes) -> None:
    space, one, two = nodes.space, nodes.one, nodes.two
    space.write("pool", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": {}})
    printing(space, location={"runOn": "workerPool", "pool": POOL})
    add_step_from_a_file(space, location={"runOn": "workerPool", "pool": POOL})
    wish = (space.folder / "shop-deployment.yaml").read_text()
    space.remove("shop-deployment")  # nothing is wished before there is a worker
    nodes.commit()
    nodes.start()
    join(nodes)
    (space.folder / "shop-deployment.yaml").write_text(wish)
    nodes.commit()
    space.until_started("Follow")
    until_printed(space)
    facts = {"status": "ok", "role": "standby", "node": "two", "leader": "one"}
    assert two.health() == facts
    assert one.health() | {"revision": ""} == {
        "status": "ok",
        "role": "leader",
        "node": "one",
        "revision": "",
        "agents": 1,
    }
    said = space.reconcile("cancel", "1", *two.at, expect=3)
    assert "Error: the node one leads this state since 20" in said

    one.signal(signal.SIGKILL)
    until(lambda: two.said("event=serving"), "the second node to take over", TAKES_OVER_WITHIN)
    (attempt,) = nodes.attempts()
    until(lambda: two.log(attempt.ticket).startswith(b"line 1\n"), "the log from its first byte on", CALLS_WITHIN)
    until_printed(space)
    one.start()
    until(lambda: one.said('event="stands by" node=one leader=two'), "the first node to stand by", TAKES_OVER_WITHIN)
    space.open()
    until(lambda: nodes.task().state.ended, "the end of the deployment", CALLS_WITHIN)

    assert nodes.task().state is TaskState.SUCCEEDED, nodes.task().reason
    assert space.starts() == Counter({"Follow": 1})
    assert [found.state for found in nodes.attempts()] == [AttemptState.ENDED] * 2
    assert (space.home / "then").read_text() == "then\n", "the file came with the task"
    assert two.log(attempt.ticket) == copy_of(space).read_bytes()
    told = space.reconcile("logs", "1", *one.at)
    assert (
        "bytes of this log are not in this node's files; they are in those of the node that led when it ended\n" in told
    )
    assert "not in this node's files" not in space.reconcile("logs", "1", *two.at)

    two.signal(signal.SIGTERM)
    until(lambda: one.said("event=serving"), "the first node to lead again", AT_ONCE)
    assert two.process is not None
    two.process.wait(0)


def test_a_leader_that_wakes_up_too_late_stands_by_and_tells_later_what_ran_beside_it(nodes: Nodes) -> None:
    space, one, two = nodes.space, nodes.one, nodes.two
    printing(space)
    nodes.commit()
    nodes.start()
    space.until_started("Follow")
    one.signal(signal.SIGSTOP)
    until(lambda: two.said("event=serving"), "the second node to take over", TAKES_OVER_WITHIN)
    until(lambda: nodes.task().state.ended, "the end of the deployment")
    one.signal(signal.SIGCONT)
    until(lambda: one.said('event=deposed reason="the node two has taken the lead'), "the loss of the lead")
    until(lambda: one.said('event="stands by" node=one leader=two'), "the first node to stand by")
    (attempt,) = nodes.attempts()
    assert attempt.state is AttemptState.LOST
    assert nodes.task().state is TaskState.FAILED
    until_printed(space)  # nobody has stopped it
    space.open()
    two.signal(signal.SIGTERM)
    until(lambda: one.said("event=serving", 2), "the first node to lead again", AT_ONCE)
    until(lambda: one.said("") and nodes.attempts()[0].state is AttemptState.ENDED, "the attempt's end")
    assert nodes.task().state is TaskState.FAILED, "what came late changes nothing"
    assert space.starts() == Counter({"Follow": 1})
    assert one.log(attempt.ticket) == copy_of(space).read_bytes()


def test_a_node_with_another_key_is_refused_at_once(nodes: Nodes) -> None:
    printing(nodes.space)
    nodes.space.remove("shop-deployment")
    nodes.commit()
    nodes.one.start()
    until(lambda: nodes.one.said("event=serving"), "the first node", TAKES_OVER_WITHIN)
    said = nodes.two.start().wait(1)
    assert f"Error: the key {nodes.two.files}/key is missing\n" in said
    assert "bring it back, from another node if there is one" in said
    other = nodes.space.home / "other"
    nodes.space.reconcile("apply", "--auto-approve", "--data", str(other))
    shutil.copy2(other / "key", nodes.two.files / "key")
    said = nodes.two.start().wait(1)
    assert f"Error: the key {nodes.two.files}/key is not the one that sealed this state's sensitive values\n" in said
    assert "bring back the former key, the same on every node" in said
    assert nodes.one.health()["role"] == "leader"
