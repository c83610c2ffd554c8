"""A controller with 10,000 objects: from a fetched commit to its plan, from a forge's call to the first step, and idling."""

import hmac
import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from benchmarks.bench import RECONCILE, ROOT, Bench, reconcile
from benchmarks.figures import AtMost, Figure, Line, Ratio, Unit
from benchmarks.identities import certify, new_keys, workers_of
from benchmarks.installation import POOL, Installation, memory, processor_seconds, until
from benchmarks.spaces import change_fleet, commit, worker_file, write_fleet
from reconciler.declare.cache import ParseCache
from reconciler.declare.load import Loaded, load
from reconciler.declare.mirror import Mirror, Remote
from reconciler.plan.planner import Options
from reconciler.server.planning.planning import files_of, plan_space
from reconciler.store import objects
from reconciler.store.writer import Store

OBJECTS = 10_000
COMMITS = 10
CALLS = 20
AGENTS = 100
SETTLE_SECONDS = 10.0  # after the last agent has come: what they left to do is done
IDLE_SECONDS = 30.0
SECRET = b"a secret of the hook"
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {{name: production}}
spec: {{}}
---
apiVersion: reconciler/v1
kind: Project
metadata: {{name: measured}}
spec:
  process:
    - {{name: Work, location: {{runOn: server}}, script: {{syntax: sh, body: ":"}}}}
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: measured}}
spec: {{project: measured, release: "{release}", environment: production}}
"""
CONFIGURATION = """
[builtin_worker]
as_server = true
[[source]]
space = "default"
url = "{url}"
branch = "{branch}"
poll = "10m"
agents = "127.0.0.1:{agents}"
webhook = {{secret_file = "{secret}"}}
"""


def measure(bench: Bench) -> Iterator[Line]:
    """Plan one-file commits as a controller does, then let a server be called after each of some commits."""
    count = bench.size(OBJECTS)
    space, state = bench.folder / "space", bench.folder / "state"
    write_fleet(space, count)
    _let_them_call(space)
    subprocess.run(
        [*reconcile("apply", space, "--data", str(state), "--auto-approve")], check=True, capture_output=True
    )
    cold = _cold(space, state)
    warm = tuple(_planned(bench, space, state, count))
    whole = Figure(f"reconcile plan, {count:,} objects, a process of its own", Unit.SECONDS, (cold,))
    yield whole
    first = Figure(
        f"a commit of one file, {count:,} objects: fetched to planned", Unit.SECONDS, warm, bench.goal(AtMost(0.05))
    )
    yield first
    yield Ratio("a plan by itself takes so many of it", whole, first)
    yield from _served(bench, space, count)


def _let_them_call(space: Path) -> None:
    """Make the workers such as call: thousands that nobody answers for would be dialled again and again."""
    for file in (space / "workers").rglob("*.yaml"):
        file.write_text(_calling(file.read_text()))
    commit(space)


def _calling(document: str) -> str:
    return re.sub(
        r"listening:\n( +)host: (\S+)\.example\.org\n +port: \d+", r"polling:\n\1subscription: poll://\2", document
    )


def _cold(space: Path, state: Path) -> float:
    begun = time.monotonic()
    subprocess.run([*reconcile("plan", space, "--data", str(state))], check=True, capture_output=True)
    return time.monotonic() - begun


def _planned(bench: Bench, space: Path, state: Path, count: int) -> Iterator[float]:
    """Yield the seconds from a fetched commit to its plan; the first one, which reads everything, is not counted."""
    mirror = Mirror(bench.folder / "mirror", Remote(f"file://{space}", f"refs/heads/{_branch(space)}"))
    parsed = ParseCache.open(None)
    with Store.open(str(state), state) as store:
        store.read_now(store.known.at)
        for number in range(bench.runs(COMMITS) + 1):
            change_fleet(space, count, slots=5 + number)
            changed = worker_file(space, count // 2)
            changed.write_text(_calling(changed.read_text()))
            commit(space)
            head = mirror.fetch()
            begun = time.monotonic()
            live = store.read_now(lambda tx: objects.live_state(tx, store.known))
            loaded = load(mirror.root, rev=head, cache=parsed, live_paths=files_of(live))
            plan_space(loaded, live, Options(), check=_anything)
            if number:
                yield time.monotonic() - begun


def _anything(_loaded: Loaded, _live: object) -> None:
    """Take the state for that of any repository."""


def _served(bench: Bench, space: Path, count: int) -> Iterator[Line]:
    secret, settings = bench.folder / "secret", bench.folder / "server.toml"
    installation = Installation(bench.folder)
    keys, identities = new_keys(bench.size(AGENTS)), bench.folder / "identities"
    (space / "agents.yaml").write_text(POOL + workers_of(keys))
    commit(space)
    certify(space, bench.folder / "data" / "default", keys, identities)
    secret.write_bytes(SECRET)
    settings.write_text(CONFIGURATION.format(url=space, branch=_branch(space), secret=secret, agents=installation.port))
    command = [RECONCILE, "serve", "--data", bench.folder / "data", "--config", settings, "--new-state"]
    with (bench.folder / "server.log").open("ab") as log:
        installation.server = subprocess.Popen(
            [*map(str, command), "--http", f"127.0.0.1:{installation.http}"], stdout=log, stderr=log
        )
    try:
        until(lambda: _judged(installation), "the first apply")
        waits = [_called(installation, space, str(number)) for number in range(bench.runs(CALLS) + 1)][1:]
        yield Figure(
            f"call of a forge to first step running, {count:,} objects",
            Unit.SECONDS,
            tuple(waits),
            bench.goal(AtMost(0.5)),
        )
        crowd = [sys.executable, "-m", "benchmarks.crowd", str(installation.port), str(identities)]
        with subprocess.Popen(crowd, cwd=ROOT) as agents:
            try:
                yield from _idle(bench, installation, count, len(keys))
            finally:
                agents.kill()
    finally:
        installation.server.terminate()
        installation.server.wait()


def _idle(bench: Bench, installation: Installation, count: int, agents: int) -> Iterator[Line]:
    until(lambda: installation.connected() == agents, "all agents")
    time.sleep(SETTLE_SECONDS)
    busy, begun = processor_seconds(installation.pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    share = (processor_seconds(installation.pid) - busy) / (time.monotonic() - begun) * 100
    assert installation.connected() == agents
    what = f"processor of an idle server, {count:,} objects and {agents} agents"
    yield Figure(what, Unit.SHARE, (share,), bench.goal(AtMost(3)))
    yield Figure("its memory", Unit.BYTES, (float(memory(installation.pid)),), bench.goal(AtMost(300e6)))


def _judged(installation: Installation) -> bool:
    """Has the server carried out its first commit?"""
    return installation.is_healthy() and bool(json.loads(installation.fetch("healthz")).get("revision"))


def _called(installation: Installation, space: Path, release: str) -> float:
    """Commit a release, say so, and return the seconds until its step runs."""
    (space / "deployment.yaml").write_text(DEPLOYMENT.format(release=release))
    commit(space)
    body = json.dumps({"ref": f"refs/heads/{_branch(space)}"}).encode()
    proof = "sha256=" + hmac.new(SECRET, body, sha256).hexdigest()
    address = f"http://127.0.0.1:{installation.http}/hooks/default"
    begun = time.time()
    urllib.request.urlopen(urllib.request.Request(address, body, {"X-Reconciler-Signature": proof}), timeout=30).close()
    started = "SELECT a.started_at FROM attempts a JOIN tasks t ON t.id = a.task WHERE t.release = ? AND a.started_at IS NOT NULL"
    until(lambda: bool(_rows(installation, started, release)), "the first step")
    return _rows(installation, started, release)[0] - begun


def _rows(installation: Installation, query: str, release: str) -> list[float]:
    with closing(sqlite3.connect(f"file:{installation.home}/data/default/state.db?mode=ro", uri=True)) as state:
        return [float(at) for (at,) in state.execute(query, (release,))]


def _branch(space: Path) -> str:
    shown = subprocess.run(
        ["git", "-C", space, "symbolic-ref", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()
