"""A thousand idle agents on one server: what they cost, and how soon all are back after its death; an agent by itself."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import ROOT, Bench
from benchmarks.figures import AtMost, Figure, Line, Unit
from benchmarks.identities import certify, new_keys, workers_of
from benchmarks.installation import POOL, Installation, begin, installed, memory, processor_seconds, until
from reconciler.agent import bundle

AGENTS = 1_000
IDLE_SECONDS = 30.0
SETTLE_SECONDS = 10.0  # after the last one has come: what they left to do is done
QUIET_SECONDS = 3.0  # of a server that has nobody, and of an agent that has nothing to do
LOOK_EVERY = 0.01  # seconds between two questions for the health of a busy server


def measure(bench: Bench) -> Iterator[Line]:
    """Let simulated agents connect over TLS, count what the server spends, and kill it."""
    yield from _agent_alone(bench.folder)
    count = bench.size(AGENTS)
    installation = _prepared(bench.folder / "crowd", count)
    identities = bench.folder / "crowd" / "identities"
    try:
        installation.serve()
        until(lambda: installation.metric("sessions") >= 0, "metrics")
        time.sleep(QUIET_SECONDS)  # what a start leaves to do is done
        empty = memory(installation.pid)
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", str(installation.port), str(identities)], cwd=ROOT
        ) as crowd:
            try:
                yield from _with_crowd(installation, count, empty, bench)
            finally:
                crowd.kill()
    finally:
        installation.close()


def _with_crowd(installation: Installation, count: int, empty: int, bench: Bench) -> Iterator[Line]:
    first = until(lambda: installation.connected() == count, "all agents")
    yield Figure(f"{count} agents come within", Unit.SECONDS, (first,))
    time.sleep(SETTLE_SECONDS)
    busy, begun, beats = processor_seconds(installation.pid), time.monotonic(), installation.metric("heartbeats")
    time.sleep(IDLE_SECONDS)
    seconds = time.monotonic() - begun
    share = (processor_seconds(installation.pid) - busy) / seconds * 100
    beats = (installation.metric("heartbeats") - beats) / seconds
    waits = _asked(installation, QUIET_SECONDS)
    assert installation.connected() == count
    yield Figure(f"processor of a server with {count} idle agents", Unit.SHARE, (share,), bench.goal(AtMost(3)))
    yield Figure("heartbeats it hears", Unit.PER_SECOND, (beats,))
    each = (memory(installation.pid) - empty) / count
    yield Figure("memory for each connection", Unit.BYTES, (each,), bench.goal(AtMost(64 << 10)))
    yield Figure("answer to a question for its health, idle", Unit.SECONDS, tuple(waits))
    assert installation.server is not None
    installation.server.kill()
    installation.server.wait()
    killed = time.monotonic()
    installation.serve()
    waits = _asked_until_back(installation, count)
    yield Figure("all are back after kill -9", Unit.SECONDS, (time.monotonic() - killed,), bench.goal(AtMost(60)))
    slow = sorted(waits)[int(len(waits) * 0.99)]
    yield Figure("answer meanwhile, 99th of a hundred", Unit.SECONDS, (slow,), bench.goal(AtMost(0.25)))


def _asked(installation: Installation, seconds: float) -> list[float]:
    """Ask for the server's health for a while; return how long each answer took."""
    waits, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        waits.append(_answered(installation)[0])
        time.sleep(LOOK_EVERY)
    return waits


def _asked_until_back(installation: Installation, count: int) -> list[float]:
    waits: list[float] = []

    def are_back() -> bool:
        wait, connected = _answered(installation)
        waits.append(wait)
        return connected == count

    until(are_back, "all agents to be back")
    return waits


def _answered(installation: Installation) -> tuple[float, int]:
    begun = time.perf_counter()
    connected = installation.connected()
    return time.perf_counter() - begun, connected


def _prepared(home: Path, count: int) -> Installation:
    """Make a space with so many polling workers, and an identity for each, certified by the installation's authority."""
    home.mkdir()
    installation = Installation(home)
    keys = new_keys(count)
    begin(installation.space, POOL + workers_of(keys))
    certify(installation.space, installation.data, keys, home / "identities")
    return installation


def _agent_alone(folder: Path) -> Iterator[Line]:
    """Measure the agent as people install it: the size of its file, and its memory while it has nothing to do."""
    zipapp = folder / "agent.pyz"
    bundle.write(str(zipapp))
    yield Figure("the agent's file", Unit.BYTES, (float(zipapp.stat().st_size),), AtMost(200_000))
    with installed(folder / "alone", slots=1) as installation:
        time.sleep(QUIET_SECONDS)
        assert installation.agent is not None
        family = [installation.agent.pid, *_children(installation.agent.pid)]
        yield Figure("memory of an idle agent", Unit.BYTES, (float(memory(family[0])),), AtMost(25e6))
        yield Figure("with the process that forks for it", Unit.BYTES, (float(sum(map(memory, family))),))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
