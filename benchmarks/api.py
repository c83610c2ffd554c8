"""The API of a server with 10,000 objects: reads of one object, lists in pages, and many followers of one live log."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.bench import RECONCILE, ROOT, Bench, reconcile
from benchmarks.figures import AtLeast, AtMost, Figure, Line, Ratio, Unit
from benchmarks.installation import Installation, free_port, processor_seconds, until
from benchmarks.measuring import in_turn
from benchmarks.spaces import CALLING_WORKER, commit, write_fleet

OBJECTS = 10_000
CONNECTIONS = 8
SECONDS = 4.0
ROUNDS = 5
WALKS = 4
PAGE = 200
FOLLOWERS = 500
BLOCKS, LINES = 200, 50
"""What the followed script prints: so many times so many lines of 100 bytes, and a twentieth of a second between them."""

WHERE = "/api/v1/spaces/default"
FILL = "x" * 92
CONFIGURATION = """
[http]
rate = 1e6
burst = 1000000
[builtin_worker]
as_server = true
"""
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
    - name: Print
      location: {{runOn: server}}
      script:
        syntax: sh
        body: |
          until [ -e {gate} ]; do sleep 0.05; done
          block=0
          while [ $block -lt {blocks} ]; do
            awk -v b=$block 'BEGIN {{ for (i = 0; i < {lines}; i++) printf "%06d {fill}\\n", b * {lines} + i }}'
            sleep 0.05
            block=$((block + 1))
          done
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: measured}}
spec: {{project: measured, release: "1", environment: production}}
"""


def measure(bench: Bench) -> Iterator[Line]:
    """Serve a fleet, read it beside the bare framework, walk through its lists, and follow a log."""
    count = bench.size(OBJECTS)
    space, state = bench.folder / "space", bench.folder / "data"
    write_fleet(space, count, CALLING_WORKER)
    there = ("--data", str(state))
    subprocess.run([*reconcile("apply", space, *there), "--auto-approve"], check=True, capture_output=True)
    words = ("access", "create", "measured", "--role", "viewer", "--role", "deployer", "-C", str(space), *there)
    token = subprocess.run([RECONCILE, *words], check=True, capture_output=True, text=True).stdout.strip()
    with _served(bench.folder, space) as installation:
        address = f"127.0.0.1:{installation.http}"
        yield from _reads(bench, installation, address, token, count)
        for title, path in (("objects of a kind", "objects/Worker"), ("workers", "workers")):
            yield from _pages(bench, f"a page of {PAGE} of {count:,} {title}", address, f"{path}?limit={PAGE}", token)
        yield from _followed(bench, installation, address, token)


@contextmanager
def _served(folder: Path, space: Path) -> Iterator[Installation]:
    settings = folder / "server.toml"
    settings.write_text(CONFIGURATION)
    installation = Installation(folder)
    command = [RECONCILE, "serve", "-C", space, "--data", folder / "data", "--config", settings, "--new-state"]
    with (folder / "server.log").open("ab") as log:
        installation.server = subprocess.Popen(
            [*map(str, command), "--http", f"127.0.0.1:{installation.http}"], stdout=log, stderr=log
        )
    try:
        until(installation.is_healthy, "the server")
        until(lambda: bool(json.loads(installation.fetch("healthz")).get("revision")), "the first commit")
        yield installation
    finally:
        installation.close()


def _reads(bench: Bench, installation: Installation, address: str, token: str, count: int) -> Iterator[Line]:
    path = f"{WHERE}/objects/Worker/worker-{count // 2:05}"
    port, seconds = free_port(), SECONDS / 4 if bench.is_quick else SECONDS
    spent: dict[int, list[float]] = {}
    with subprocess.Popen([sys.executable, "-m", "benchmarks.constant", str(port)], cwd=ROOT) as bare:
        until(lambda: _answers(f"http://127.0.0.1:{port}/objects/any"), "the bare framework")

        def read(pid: int, where: str, path: str) -> float:
            before = processor_seconds(pid)
            found = _called("read", where, path, token, str(CONNECTIONS), str(seconds))
            spent.setdefault(pid, []).append((processor_seconds(pid) - before) / found["count"])
            return float(found["count"] / found["seconds"])

        things = {
            "ours": lambda: read(installation.pid, address, path),
            "bare": lambda: read(bare.pid, f"127.0.0.1:{port}", "/objects/any"),
        }
        try:
            found = in_turn(bench.runs(ROUNDS), things)
        finally:
            bare.terminate()
    ours = Figure("reads of one object", Unit.PER_SECOND, found["ours"], bench.goal(AtLeast(2_000)))
    alone = Figure("the framework alone, a constant", Unit.PER_SECOND, found["bare"])
    yield ours
    yield alone
    yield Ratio("of it the reads are", ours, alone)
    yield Figure("processor for a read", Unit.SECONDS, tuple(spent[installation.pid][1:]))
    yield Figure("processor for a constant", Unit.SECONDS, tuple(spent[bare.pid][1:]))


def _pages(bench: Bench, title: str, address: str, path: str, token: str) -> Iterator[Line]:
    walks = [_called("pages", address, f"{WHERE}/{path}", token) for _ in range(bench.runs(WALKS) + 1)][1:]
    yield Figure(title, Unit.SECONDS, tuple(seconds for walk in walks for seconds in walk["seconds"]))
    late = tuple(_p99(walk["seconds"]) for walk in walks)
    yield Figure("the 99th of a hundred", Unit.SECONDS, late, bench.goal(AtMost(0.05)))


def _followed(bench: Bench, installation: Installation, address: str, token: str) -> Iterator[Line]:
    count, blocks = bench.size(FOLLOWERS), bench.size(BLOCKS)
    gate, space = bench.folder / "gate", bench.folder / "space"
    (space / "deployment.yaml").write_text(DEPLOYMENT.format(gate=gate, blocks=blocks, lines=LINES, fill=FILL))
    commit(space)
    asked = urllib.request.Request(f"http://{address}{WHERE}/look", b"", {"Authorization": f"Bearer {token}"})
    urllib.request.urlopen(asked, timeout=100).close()
    started = "SELECT 1 FROM attempts WHERE started_at IS NOT NULL"
    until(lambda: bool(installation.rows(started)), "the script")
    before = processor_seconds(installation.pid)
    found = _called("follow", address, f"{WHERE}/tasks/1/log/stream", token, str(count), str(gate))
    busy = processor_seconds(installation.pid) - before
    whole = "".join(f"{number:06} {FILL}\n" for number in range(blocks * LINES)).encode()
    assert found["heard"] == [[len(whole), sha256(whole).hexdigest()]], "somebody missed a part of the log"
    ((ended,),) = installation.rows("SELECT finished_at FROM attempts")
    title = f"{count} followers of a log of {len(whole) / 1e6:g} MB: its end to all heard"
    yield Figure(title, Unit.SECONDS, tuple(at - ended for at in found["ends"]))
    yield Figure("processor of the server for each of them", Unit.SECONDS, (busy / count,))


def _called(role: str, address: str, path: str, token: str, *words: str) -> Any:
    """Let a process of its own call, and return what it found."""
    command: Sequence[str] = [sys.executable, "-m", "benchmarks.callers", role, address, path, *words]
    done = subprocess.run(command, cwd=ROOT, input=token, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]
