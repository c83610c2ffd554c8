"""One plan for all: a server's, that of a snapshot, and the one that the controller keeps for a person are the same bytes."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.model.following import plan_name
from tests.chaos.fleet import free_port
from tests.chaos.processes import until
from tests.cli.workplace import RECONCILE, reconcile
from tests.end_to_end.git_hosts import USER, Bare, Host, https_host, obstacle, scrubbed

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

PLANTED = "planted-password"
FORMS = ("json", "text", "markdown")
BY_ITSELF = {"json": '{"type":"live"', "text": "Live: ", "markdown": "\n> **Live:** "}
"""What each form begins with of what moves by itself; it follows the changes section."""
SPACE = """\
apiVersion: reconciler/v1
kind: Space
metadata: {name: web}
spec: {approval: manual}
"""
POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: %s}\nspec: {description: %s}\n"
RENAMED = (
    "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: near, renamedFrom: spare}\nspec: {description: b}\n"
)
PROJECT = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {name: live}
spec: {}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  variables:
    - {name: Db.Password, type: sensitive, value: {env: %s}}
  process:
    - name: Work
      location: {runOn: workerPool, pool: far}
      env: {PGPASSWORD: "${{ vars.Db.Password }}"}
      script: {syntax: sh, body: '%s'}
"""
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: shop-live}
spec: {project: shop, environment: live, release: "%s"}
"""
CONFIGURATION = """
[secrets]
environment = ["SHOP_DB", "SHOP_DB_NEXT"]

[http]
rate = 1000.0
burst = 10000

[[source]]
space = "web"
url = "{url}"
poll = "1s"
agents = "127.0.0.1:{agents}"
login = {{username = "{user}", password_file = "{host}/password", ca_file = "{host}/certificate.pem"}}
"""


@dataclass
class Scene:
    """A server of one space behind https, two agents of its pool, and somebody with a clone and a token."""

    folder: Path
    bare: Bare
    host: Host
    http: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    token: str = ""
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data" / "web"

    def start(self, log: str, *command: str) -> None:
        """Start a process of the scene; the server knows secrets that nobody else does."""
        secrets = {"SHOP_DB": PLANTED, "SHOP_DB_NEXT": PLANTED} if log == "server" else {}
        with (self.folder / f"{log}.log").open("ab") as stream:
            environment = scrubbed() | secrets
            process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, cwd=self.folder)
        self.processes.append(process)

    def serve(self) -> None:
        settings = CONFIGURATION.format(
            url=self.host.url(self.bare), agents=self.port, user=USER, host=self.host.folder
        )
        (self.folder / "server.toml").write_text(settings)
        options = ("--data", str(self.data.parent), "--config", str(self.folder / "server.toml"))
        self.start("server", str(RECONCILE), "serve", *options, "--http", f"127.0.0.1:{self.http}")
        until(self._is_ready, "the server")
        self.token = self.run("access", "create", "viewer", "--role", "viewer", "--space", "web").strip()
        (self.folder / "token").write_text(self.token)

    def _is_ready(self) -> bool:
        assert self.processes[0].poll() is None, self.log()
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=10).status == 200)
        except OSError:
            return False

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def run(self, *arguments: str, beside: bool = True) -> str:
        """Run a command beside the state, or with nothing but what the arguments name; return what it printed."""
        at = ("--data", str(self.data)) if beside else ()
        return reconcile(*arguments, *at).expect(0).out

    def enrol(self, name: str) -> str:
        """Make an agent of the pool; return the document that declares it."""
        token = self.run("token", "create", "--worker", name, "--pool", "far")
        state, program = str(self.folder / name), (sys.executable, "-m", "reconciler.agent")
        address = f"127.0.0.1:{self.port}"
        document = subprocess.run(
            [*program, "enrol", "--state", state, "--server", address, "--token-file", "-"],
            input=token, capture_output=True, text=True, check=True, env=scrubbed(),
        ).stdout  # fmt: skip
        self.start(name, *program, "run", "--state", state)
        return document

    def api(self, path: str) -> dict[str, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/api/v1/spaces/web{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def waiting(self, commit: str) -> str:
        """Return the name of the plan of a commit that waits for a person, once there is one."""
        until(lambda: self._waits(commit), f"the plan of {commit}")
        return self._waits(commit)

    def _waits(self, commit: str) -> str:
        found = self.items("/plans", "items")
        digests = [str(each["digest"]) for each in found if each["revision"] == commit and not each["decision"]]
        return plan_name(digests[0]) if digests else ""

    def is_ready(self) -> bool:
        return any(each["type"] == "Ready" and each["status"] for each in self.items("/conditions", "conditions"))

    def applied(self, plan: str, *, ends: bool = True) -> None:
        """Have a plan carried out, and its deployments brought to their end."""
        self.run("approve", plan)
        until(lambda: not self.items("/plans", "items"), "what was approved")
        until(lambda: not ends or self.is_ready(), "the end of it", patience=90)

    def items(self, path: str, name: str) -> list[dict[str, object]]:
        """Ask the API for a list."""
        found = self.api(path)[name]
        assert isinstance(found, list)
        return found

    def remove(self, name: str) -> None:
        """Remove a file of the clone."""
        (self.bare.work / f"{name}.yaml").unlink()

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    if reason := obstacle():
        pytest.skip(reason)
    bare = Bare.new(tmp_path, "web")
    with https_host(tmp_path / "https", tmp_path / "served") as host:
        here = Scene(tmp_path, bare, host)
        try:
            yield here
        finally:
            here.close()


def changes_section(text: str, form: str) -> str:
    """Return a plan without what moves by itself; that has to be all that follows."""
    begin = text.find(BY_ITSELF[form])
    section, rest = (text, "") if begin < 0 else (text[:begin], text[begin:])
    assert all(line.startswith(BY_ITSELF[form].strip()) for line in rest.splitlines() if line), rest
    return section


def agree(here: Scene, commit: str, plan: str) -> Mapping[str, str]:
    """Insist that the three plans of a commit are the same bytes in each form; return their changes sections."""
    snapshot, key = here.folder / "snapshot.json", here.folder / "snapshot-key.pem"
    here.run("snapshot", "--key", "--out", str(key))
    here.run("snapshot", "--out", str(snapshot))
    found = {}
    for form in FORMS:
        at_server = ("--server", f"http://127.0.0.1:{here.http}", "--token-file", str(here.folder / "token"))
        by_snapshot = ("--snapshot", str(snapshot), "--snapshot-key", str(key), "-C", str(here.bare.work))
        server = here.run("plan", "--format", form, *at_server, "--rev", commit, beside=False)
        without = here.run("plan", "--format", form, *by_snapshot, beside=False)
        kept = here.api(f"/plans/{plan}/changes?form={form}")
        own = lines(kept["records"]) if form == "json" else str(kept["text"])
        assert changes_section(without, form) == without, "a snapshot knows nothing of what moves by itself"
        assert changes_section(server, form) == without
        assert changes_section(own, form) == without
        assert PLANTED not in server + without + own
        found[form] = without
    return found


def lines(records: object) -> str:
    """Return records as `plan --json` prints them."""
    assert isinstance(records, list)
    return "".join(f"{json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n" for record in records)


def changes(found: Mapping[str, str]) -> list[str]:
    """Return what a plan does, in short."""
    records = [json.loads(line) for line in found["json"].splitlines()]
    done = [f"{record['action']} {record['address']}" for record in records if record["type"] == "change"]
    return done + [f"run {record['deployment']}" for record in records if record["type"] == "run"]


def test_three_plans_of_each_commit_are_the_same_bytes(scene: Scene) -> None:
    gate = scene.folder / "gate"
    first = scene.bare.push("Begin", reconcile=SPACE, pool=POOL % ("far", "a"), spare=POOL % ("spare", "a"))
    scene.serve()
    scene.applied(scene.waiting(first))

    def step(message: str, expected: list[str], *, ends: bool = True, **files: str) -> None:
        commit = scene.bare.push(message, **files)
        plan = scene.waiting(commit)
        assert changes(agree(scene, commit, plan)) == expected, message
        scene.applied(plan, ends=ends)

    workers = {name: scene.enrol(name) for name in ("web-1", "web-2")}
    step("Add workers", ["create Worker/web-1", "create Worker/web-2"], **workers)
    shop = PROJECT % ("SHOP_DB", "echo 1")
    begun = ["create Environment/live", "create Project/shop", "create Deployment/shop-live", "run shop-live"]
    step("Deploy", begun, project=shop, deployment=DEPLOYMENT % "1")
    step("Change", ["update WorkerPool/spare"], spare=POOL % ("spare", "b"))
    step("Rename", ["rename WorkerPool/near"], spare=RENAMED)
    scene.remove("spare")
    step("Remove", ["remove WorkerPool/near"])
    step("Change the process", ["update Project/shop"], project=PROJECT % ("SHOP_DB", "echo 2"))
    step(
        "Another secret",
        ["update Project/shop"],
        project=PROJECT % ("SHOP_DB_NEXT", f"while [ ! -e {gate} ]; do sleep 0.1; done"),
    )
    released = ["update Deployment/shop-live", "run shop-live"]
    step("Release", released, ends=False, deployment=DEPLOYMENT % "2")
    until(lambda: scene.items("/tasks/2", "attempts"), "the attempt")
    running = str(scene.items("/tasks/2", "attempts")[0]["worker"])
    scene.remove(running)
    step("Remove a worker with work running", [f"remove Worker/{running}"], ends=False)
    gate.touch()
    until(scene.is_ready, "the end of the release", patience=90)
    assert PLANTED not in scene.log()
