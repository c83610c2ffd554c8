"""One server on two spaces, one behind https with a password and one behind ssh: commits become deployments by themselves."""

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.declare.mirror import FetchFailed, Login, Mirror, Remote
from tests.chaos.fleet import free_port
from tests.chaos.processes import until
from tests.end_to_end.git_hosts import USER, Bare, Host, https_host, obstacle, scrubbed, ssh_host

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

RECONCILE = str(Path(sys.executable).with_name("reconcile"))
SECRET = "secret-of-the-hook"
SECONDS_AFTER_CALL = 20.0  # generous: the machine that runs this may be busy
SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {{name: {name}}}\nspec: {{}}\n"
POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: far}\nspec: {}\n"
SHOP = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {{name: live}}
spec: {{}}
---
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  process:
    - name: Work
      location: {{runOn: workerPool, pool: far}}
      script: {{syntax: sh, body: 'echo "{body}" >> {witness}'}}
"""
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: shop-live}}
spec: {{project: shop, environment: live, release: "{release}"}}
"""
CONFIGURATION = """
[[source]]
space = "web"
url = "{web}"
poll = "10m"
agents = "127.0.0.1:{web_agents}"
login = {{username = "{user}", password_file = "{https}/password", ca_file = "{https}/certificate.pem"}}
webhook = {{kind = "github", secret_file = "{folder}/hook"}}

[[source]]
space = "db"
url = "{db}"
poll = "1s"
agents = "127.0.0.1:{db_agents}"
login = {{ssh_key_file = "{ssh}/client", known_hosts_file = "{ssh}/known_hosts"}}
"""


@dataclass
class Premises:
    """A server, its two repositories behind their hosts, and an agent for each."""

    folder: Path
    web: Bare
    db: Bare
    https: Host
    ssh: Host
    http: int = field(default_factory=free_port)
    ports: dict[str, int] = field(default_factory=lambda: {"web": free_port(), "db": free_port()})
    server: "subprocess.Popen[bytes] | None" = None
    agents: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def configure(self) -> None:
        (self.folder / "hook").write_text(SECRET + "\n")
        text = CONFIGURATION.format(
            web=self.https.url(self.web),
            db=self.ssh.url(self.db),
            https=self.https.folder,
            ssh=self.ssh.folder,
            folder=self.folder,
            user=USER,
            web_agents=self.ports["web"],
            db_agents=self.ports["db"],
        )
        (self.folder / "server.toml").write_text(text)

    def serve(self) -> None:
        options = ("--data", str(self.data), "--config", str(self.folder / "server.toml"), "--new-state")
        with (self.folder / "server.log").open("ab") as log:
            command = [RECONCILE, "serve", *options, "--http", f"127.0.0.1:{self.http}"]
            self.server = subprocess.Popen(command, stdout=log, stderr=log, env=scrubbed(), cwd=self.folder)
        until(self.is_ready, "the server")

    def is_ready(self) -> bool:
        assert self.server is None or self.server.poll() is None, self.log()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=10).status == 200
        except OSError:
            return False

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def run(self, space: str, verb: str, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        command = [RECONCILE, verb, *arguments, "--data", str(self.data / space), "-C", str(self.bare(space).work)]
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, env=scrubbed(), check=False)
        assert done.returncode == expect, (done.stdout, done.stderr, self.log())
        return done.stdout

    def bare(self, space: str) -> Bare:
        return self.web if space == "web" else self.db

    def enrol(self, space: str) -> None:
        """Make an agent of a space and commit the document that it prints."""
        token = self.run(space, "token", "create", "--worker", f"{space}-1", "--pool", "far")
        state = str(self.folder / f"agent-{space}")
        program = [sys.executable, "-m", "reconciler.agent"]
        address = f"127.0.0.1:{self.ports[space]}"
        document = subprocess.run(
            [*program, "enrol", "--state", state, "--server", address, "--token-file", "-"],
            input=token, capture_output=True, text=True, check=True, env=scrubbed(),
        ).stdout  # fmt: skip
        self.bare(space).push("Enrol a worker", worker=document)
        with (self.folder / f"agent-{space}.log").open("ab") as log:
            self.agents.append(subprocess.Popen([*program, "run", "--state", state], stderr=log, env=scrubbed()))

    def call(self, space: str, secret: str = SECRET) -> int:
        """Say as GitHub does that a repository has moved; return the status of the answer."""
        body = json.dumps({"ref": "refs/heads/main", "repository": {"name": space}}).encode()
        proof = "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest()
        headers = {"X-Hub-Signature-256": proof, "X-GitHub-Event": "push", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/hooks/{space}", body, headers)
        try:
            return int(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            return error.code

    def close(self) -> None:
        for process in [*self.agents, *([self.server] if self.server else [])]:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture
def premises(tmp_path: Path) -> Iterator[Premises]:
    if reason := obstacle():
        pytest.skip(reason)
    web, db = Bare.new(tmp_path, "web"), Bare.new(tmp_path, "db")
    for bare, name in ((web, "web"), (db, "db")):
        bare.push("Begin", reconcile=SPACE.format(name=name), pool=POOL)
    served = tmp_path / "served"
    with https_host(tmp_path / "https", served) as https, ssh_host(tmp_path / "ssh", served) as ssh:
        here = Premises(tmp_path, web, db, https, ssh)
        here.configure()
        try:
            here.serve()
            yield here
        finally:
            here.close()


def test_commits_behind_https_and_ssh_become_deployments(premises: Premises, tmp_path: Path) -> None:
    for space in ("web", "db"):
        premises.enrol(space)
    assert premises.call("web") == 202
    witness = tmp_path / "witness"
    for space, release in (("web", "1"), ("db", "1"), ("web", "2")):
        project = SHOP.format(body=f"{space} {release}", witness=witness)
        commit = premises.bare(space).push("Release", project=project, deployment=DEPLOYMENT.format(release=release))
        begun = time.monotonic()
        if space == "web":  # looked at each ten minutes by itself
            assert premises.call("web") == 202
        assert commit[:12] in premises.run(space, "wait", "--commit", commit, "--timeout", "60s")
        assert time.monotonic() - begun < SECONDS_AFTER_CALL
        status = premises.run(space, "status")
        assert f"Ready True, Applied: everything is as {commit[:12]} declares it" in status
    assert witness.read_text().split("\n") == ["web 1", "db 1", "web 2", ""]
    assert premises.call("web", "another secret") == 403
    assert premises.call("db") == 404  # it has no webhook
    for secret in (SECRET, "pass-of-git"):
        assert secret not in premises.log()
        for process in Path("/proc").glob("[0-9]*"):
            assert not _mentions(process / "cmdline", secret)


def _mentions(file: Path, secret: str) -> bool:
    try:
        return secret.encode() in file.read_bytes()
    except OSError:
        return False


def test_a_commit_that_the_server_cannot_fetch_is_waited_for(premises: Premises) -> None:
    premises.https.stop()
    premises.call("web")
    until(lambda: "SourceUnreadable" in premises.run("web", "status"), "the condition")
    assert "cannot be read since" in premises.run("web", "status")
    assert "Ready True" in premises.run("db", "status")  # the other space goes on


def test_a_host_with_another_key_is_not_spoken_with(premises: Premises, tmp_path: Path) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    address = known.read_text().split()[0]
    known.write_text(f"{address} {' '.join((tmp_path / 'ssh' / 'client.pub').read_text().split()[:2])}\n")
    until(lambda: "SourceUnreadable" in premises.run("db", "status"), "the condition")
    assert "Host key verification failed" in premises.run("db", "status")


def test_a_server_that_is_killed_goes_on_with_the_head(premises: Premises) -> None:
    assert premises.server is not None
    premises.server.kill()
    premises.server.wait()
    commit = premises.db.push(
        "More", environment="apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: x}\nspec: {}\n"
    )
    premises.serve()
    premises.run("db", "wait", "--commit", commit, "--timeout", "60s")
    os.kill(premises.server.pid, 0)


def test_the_remote_is_reached_through_a_proxy(tmp_path: Path) -> None:
    if reason := obstacle():
        pytest.skip(reason)
    web = Bare.new(tmp_path, "web")
    head = web.push("Begin", reconcile=SPACE.format(name="web"))
    port = free_port()
    with https_host(tmp_path / "https", tmp_path / "served") as host:
        start_proxy(host, port)
        files = Login(
            USER,
            host.folder / "password",
            certificates=host.folder / "certificate.pem",
            proxy=f"http://127.0.0.1:{port}",
        )
        assert Mirror(tmp_path / "mirror", Remote(host.url(web), "refs/heads/main", files)).fetch() == head
        assert "CONNECT" in (host.folder / "proxy.log").read_text()


def start_proxy(host: Host, port: int, *settings: str) -> None:
    """Let a proxy belong to a host; its log is proxy.log in the host's folder."""
    lines = ("Listen 127.0.0.1", f"Port {port}", f'LogFile "{host.folder}/proxy.log"', "MaxClients 10", *settings)
    (host.folder / "tinyproxy").write_text("\n".join([*lines, ""]))
    host.start("tinyproxy", "-d", "-c", str(host.folder / "tinyproxy"))
    until(lambda: _listens(port), "the proxy")


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[Host, Bare, str]]:
    """Serve a repository by ssh, from a folder whose name a shell would take apart; return its head, too."""
    if reason := obstacle():
        pytest.skip(reason)
    odd = tmp_path / "it's $HOME 100%h"
    odd.mkdir()
    web = Bare.new(odd, "web")
    head = web.push("Begin", reconcile=SPACE.format(name="web"))
    with ssh_host(tmp_path / "ssh", tmp_path) as host:
        (tmp_path / "served").symlink_to(odd / "served")
        host.address += "/served"
        yield host, web, head


def login(host: Host, port: int) -> Login:
    return Login(
        ssh_key=host.folder / "client", known_hosts=host.folder / "known_hosts", proxy=f"http://127.0.0.1:{port}"
    )


def test_a_host_of_ssh_is_reached_through_a_proxy(behind: tuple[Host, Bare, str], tmp_path: Path) -> None:
    (host, web, head), port = behind, free_port()
    start_proxy(host, port)
    mirror = Mirror(tmp_path / "it's a $(mirror) 100%h", Remote(host.url(web), "refs/heads/main", login(host, port)))
    assert mirror.fetch() == head
    said = (host.folder / "proxy.log").read_text()
    assert f"CONNECT {host.address.partition('@')[2].partition('/')[0]} HTTP/1.1" in said
    known = host.folder / "known_hosts"
    known.write_text(
        f"{known.read_text().split()[0]} {' '.join((host.folder / 'client.pub').read_text().split()[:2])}\n"
    )
    with pytest.raises(FetchFailed, match="Host key verification failed"):  # the proxy cannot play the host
        mirror.look()


def test_a_proxy_that_leads_nowhere_is_named(behind: tuple[Host, Bare, str], tmp_path: Path) -> None:
    (host, web, _), port = behind, free_port()
    target = host.address.partition("@")[2].partition("/")[0]
    mirror = Mirror(tmp_path / "mirror", Remote(host.url(web), "refs/heads/main", login(host, port)))
    with pytest.raises(FetchFailed) as away:
        mirror.look()
    proxy = f"http://127.0.0.1:{port}"
    assert away.value.message == f"{host.url(web)}: {proxy} does not lead to {target}: Connection refused"
    start_proxy(host, port, "ConnectPort 443")
    with pytest.raises(FetchFailed) as forbidden:
        mirror.look()
    assert forbidden.value.message == (
        f"{host.url(web)}: {proxy} does not lead to {target}: the proxy refused the tunnel: 403 Access violation"
    )


def test_no_shell_reads_the_name_of_a_host(tmp_path: Path) -> None:
    for name in ("`touch${IFS}taken`", "$(touch${IFS}taken)", "x;touch${IFS}taken", "%h|touch${IFS}taken"):
        remote = Remote(f"ssh://git@{name}/shop.git", "refs/heads/main", Login(proxy="http://127.0.0.1:1"))
        with pytest.raises(FetchFailed):
            Mirror(tmp_path / "mirror", remote).look()
    assert list(tmp_path.rglob("taken")) == []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_working_tree_is_followed_as_it_is_written(tmp_path: Path) -> None:
    space, http = tmp_path / "space", free_port()
    space.mkdir()
    (space / "reconcile.yaml").write_text(SPACE.format(name="web"))
    (space / "pool.yaml").write_text(POOL)
    data = space / ".reconcile"  # where it is by default: the server's own writes are no changes of the tree
    options = ("--dev", "--http", f"127.0.0.1:{http}")
    with (tmp_path / "server.log").open("ab") as log:
        server = subprocess.Popen([RECONCILE, "serve", "-C", str(space), *options], stderr=log, env=scrubbed())
    try:
        until(lambda: "far" in _pools(space, data), "the first pool")
        (space / "more.yaml").write_text(POOL.replace("far", "near"))
        until(lambda: _pools(space, data) == {"far", "near"}, "the second pool", patience=10.0)
        (space / "more.yaml").write_text("apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: [}\n")
        until(lambda: "1 error in the declarations" in (tmp_path / "server.log").read_text(), "the error")
        assert _pools(space, data) == {"far", "near"}
    finally:
        server.terminate()
        assert server.wait(30) == 0


def _pools(space: Path, data: Path) -> set[str]:
    command = [RECONCILE, "get", "WorkerPool", "--json", "-C", str(space), "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=scrubbed())
    found = (json.loads(line) for line in done.stdout.splitlines())
    return {record["metadata"]["name"] for record in found if record["type"] == "object"}
