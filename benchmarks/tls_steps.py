"""Steps that do nothing on an agent over TLS, one by one and ten at a time, beside queues of tasks and the bare floor."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks import peers
from benchmarks.bench import ROOT, Bench
from benchmarks.figures import Absent, AtLeast, AtMost, Figure, Line, Ratio, Unit
from benchmarks.installation import installed

STEPS = 300
PARALLEL_STEPS = 500
AT_A_TIME = 10
ROUNDS = 3
PEERS = {"Celery on Redis": "celery", "Dask distributed": "dask", "Buildbot": "buildbot", "Salt": "salt"}
SLOW = {"buildbot": 10, "salt": 10}
"""Of whose steps only so small a part is measured: each takes a quarter of a second."""
PEER_SECONDS = 300.0

PROJECT = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {{name: production}}
spec: {{}}
---
apiVersion: reconciler/v1
kind: Project
metadata: {{name: measured}}
spec:
  maxParallelSteps: {at_a_time}
  process:
{steps}---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: measured}}
spec: {{project: measured, release: "1", environment: production}}
"""
STEP = """\
    - name: Step {number}
      location: {{runOn: workerPool, pool: agents}}
      script: {{syntax: sh, body: ":"}}
      start: {start}
"""


def measure(bench: Bench) -> Iterator[Line]:
    """Run deployments of no-op steps on one agent; times come from the store."""
    programs: dict[str, Path] = {}
    for name, peer in PEERS.items():
        try:
            programs[name] = peers.queue(peer)
        except peers.Unavailable as problem:
            yield Absent(name, str(problem))
    found: defaultdict[str, list[float]] = defaultdict(list)
    steps, parallel = bench.size(STEPS), bench.size(PARALLEL_STEPS)
    for number in range(bench.runs(ROUNDS)):
        attempts = _deployed(bench.folder / f"sequential-{number}", steps, 1)
        found["whole"] += [finished - granted for granted, finished in attempts]
        found["between"] += [after[0] - before[0] for before, after in pairwise(attempts)]
        attempts = _deployed(bench.folder / f"parallel-{number}", parallel, AT_A_TIME)
        found["rate"].append(len(attempts) / (max(end for _, end in attempts) - min(begin for begin, _ in attempts)))
        for name, python in {"floor": Path(sys.executable), **programs}.items():
            try:
                latencies, rate = _peer(python, PEERS.get(name, name), steps, parallel)
            except subprocess.SubprocessError as problem:
                if name == "floor":
                    raise
                del programs[name]
                yield Absent(name, f"it failed: {problem}")
            else:
                found[name] += latencies
                found[f"{name} rate"].append(rate)
    yield from _lines({name: tuple(values) for name, values in found.items()}, list(programs))


def _lines(found: dict[str, tuple[float, ...]], others: list[str]) -> Iterator[Line]:
    """Yield our figures first, then what each other has."""
    yield Figure("sh step over TLS, granted to finished", Unit.SECONDS, found["whole"])
    yield (ours := Figure("sh step over TLS, step to step", Unit.SECONDS, found["between"], AtMost(0.005)))
    yield (many := Figure(f"steps, {AT_A_TIME} at a time", Unit.PER_SECOND, found["rate"], AtLeast(500)))
    for name in ("floor", *others):
        title = "bare TLS round trip and spawn" if name == "floor" else name
        yield (latency := Figure(f"{title}, one by one", Unit.SECONDS, found[name]))
        yield (rate := Figure(f"{title}, {AT_A_TIME} at a time", Unit.PER_SECOND, found[f"{name} rate"]))
        yield Ratio("our time is so many of it", ours, latency)
        yield Ratio("our rate is so much of it", many, rate)


def _deployed(home: Path, steps: int, at_a_time: int) -> list[tuple[float, float]]:
    """Run a deployment and return when each attempt was granted and finished, in order."""
    start = "withPrevious" if at_a_time > 1 else "afterPrevious"
    shown = "".join(STEP.format(number=number, start=start) for number in range(steps))
    with installed(home, slots=at_a_time) as installation:
        installation.deploy(PROJECT.format(steps=shown, at_a_time=at_a_time))
        rows = installation.rows("SELECT granted_at, finished_at FROM attempts ORDER BY granted_at")
    assert len(rows) == steps
    return [(granted, finished) for granted, finished in rows]


def _peer(python: Path, name: str, steps: int, parallel: int) -> tuple[list[float], float]:
    """Return the seconds of each of `steps` tasks one by one, and the rate of `parallel` ones ten at a time."""
    program = ROOT / "benchmarks" / "others" / f"{name}_steps.py"
    less = SLOW.get(name, 1)
    words = [
        str(python),
        str(program),
        str(max(2, steps // less)),
        str(max(AT_A_TIME, parallel // less)),
        str(AT_A_TIME),
    ]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=PEER_SECONDS)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["rate"]
