"""Two spaces on one PostgreSQL and two servers: each space has a leader of its own, and a machine belongs to one space."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from reconciler.store.addresses import parted
from tests.chaos.fleet import free_port
from tests.chaos.processes import until
from tests.end_to_end.git_hosts import Bare, scrubbed
from tests.pgbouncer import pooler
from tests.postgres import postgres_server

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

RECONCILE = str(Path(sys.executable).with_name("reconcile"))
SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {{name: {name}}}\nspec: {{}}\n"
WORKER = """\
apiVersion: reconciler/v1
kind: WorkerPool
metadata: {name: far}
spec: {}
---
apiVersion: reconciler/v1
kind: Worker
metadata: {name: db-1}
spec:
  pools: [far]
  endpoint: {polling: {subscription: "poll://k3v9x2m1", thumbprints: ["SHA256:%s"]}}
"""
CLAIMED = "Worker/db-1 is the machine poll://k3v9x2m1, which the space shop declares as Worker/db-1"
SOURCE = '[[source]]\nspace = "{space}"\nurl = "{url}"\npoll = "1s"\n'


@dataclass
class Node:
    """One server with files of its own, which follows some of the spaces."""

    name: str
    folder: Path
    data: str
    http: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def files(self) -> Path:
        return self.folder / self.name

    def start(self, *followed: Bare) -> None:
        config = self.folder / f"{self.name}.toml"
        config.write_text("".join(SOURCE.format(space=bare.work.name, url=bare.path) for bare in followed))
        options = ("--data", self.data, "--files", str(self.files), "--config", str(config), "--node", self.name)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            command = [RECONCILE, "serve", *options, "--http", f"127.0.0.1:{self.http}", "--new-state"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=scrubbed(), cwd=self.folder)

    def roles(self) -> dict[str, str]:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            with urlopen(f"http://127.0.0.1:{self.http}/healthz", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return {space: facts["role"] for space, facts in found.get("spaces", {}).items()}

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()

    def run(self, space: str, verb: str, *arguments: str, expect: int = 0) -> str:
        """Run a command on the state of one space."""
        where = ("--data", parted(self.data).of(space), "--files", str(self.files), "-C", str(self.folder))
        command = [RECONCILE, verb, *arguments, *where]
        done = subprocess.run(command, capture_output=True, text=True, env=scrubbed(), check=False)
        assert done.returncode == expect, (done.stdout, done.stderr, self.log())
        return done.stdout + done.stderr

    def end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@dataclass
class Premises:
    """Two spaces and two nodes that reach their database through a pooler."""

    shop: Bare
    blog: Bare
    one: Node
    two: Node


@pytest.fixture
def premises(tmp_path: Path) -> Iterator[Premises]:
    shop, blog = (Bare.new(tmp_path, name) for name in ("shop", "blog"))
    for bare in (shop, blog):
        bare.push("Begin", reconcile=SPACE.format(name=bare.work.name))
    with postgres_server() as server, pooler(server) as pooled:
        data = pooled.new_database()
        here = Premises(shop, blog, *(Node(name, tmp_path, data, free_port()) for name in ("one", "two")))
        try:
            yield here
        finally:
            for node in (here.one, here.two):
                node.end(signal.SIGTERM)


def test_each_space_has_a_leader_of_its_own_and_all_find_another_one(premises: Premises) -> None:
    one, two, shop, blog = premises.one, premises.two, premises.shop, premises.blog
    one.start(shop)
    until(lambda: "event=serving space=shop" in one.log(), "the first node")
    two.files.mkdir(mode=0o700)
    shutil.copytree(one.files / "shop", two.files / "shop", ignore=lambda _, names: {*names} - {"key"})
    two.start(shop, blog)
    until(lambda: two.roles() == {"shop": "standby", "blog": "leader"}, "two leaders")

    commit = shop.push("A worker", worker=WORKER % ("A" * 43))
    one.run("shop", "wait", "--commit", commit, "--timeout", "60s")
    blog.push("The same worker", worker=WORKER % ("A" * 43))
    until(lambda: CLAIMED in two.run("blog", "status"), "the refusal of a machine that is claimed on the other node")
    assert "db-1" in one.run("shop", "get", "Worker")
    assert "db-1" not in two.run("blog", "get", "Worker")
    assert "the node two leads this state" in one.run("blog", "suspend", "--reason", "a look", expect=3)
    said = one.run("shop", "doctor", expect=0)
    assert f"{parted(one.data).of('shop')} has the schema" in said

    one.end(signal.SIGKILL)
    shutil.copy2(two.files / "blog" / "key", one.files / "blog" / "key")
    until(lambda: two.roles() == {"shop": "leader", "blog": "leader"}, "one leader of both")
    one.start(shop, blog)
    until(lambda: one.roles() == {"shop": "standby", "blog": "standby"}, "the first node to stand by")
    two.end(signal.SIGTERM)
    until(lambda: one.roles() == {"shop": "leader", "blog": "leader"}, "the first node to lead again")
    shop.git("rm", "--quiet", "worker.yaml")
    last = shop.push("No worker")
    one.run("shop", "wait", "--commit", last, "--timeout", "60s")
    assert "db-1" not in one.run("shop", "get", "Worker")
