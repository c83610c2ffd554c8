"""Fifty scripts that print steadily on one agent over TLS: how soon each byte is durable, what memory that takes."""

import re
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import ROOT, Bench
from benchmarks.figures import AtMost, Figure, Line, Unit
from benchmarks.installation import Installation, installed
from benchmarks.tls_output import PULSING, Watch, pongs
from benchmarks.tls_steps import PROJECT

SCRIPTS = 50
RATES = (2_000_000, 500_000)  # bytes a second of each script
SECONDS = 15.0
RUNS = 3
PRINTED = re.compile(rb"@(\d+\.\d{6})@")
GROWTH_MAX = 16e6  # bytes from the first half of the time to the second: the noise of allocators
STEP = """\
    - name: Step {number}
      location: {{runOn: workerPool, pool: agents}}
      script: {{syntax: sh, body: 'exec "{python}" "{program}" {rate} {seconds}'}}
      start: withPrevious
"""


def measure(bench: Bench) -> Iterator[Line]:
    """Let scripts print, and compare when a byte was printed with when the agent heard that it is durable."""
    scripts = bench.size(SCRIPTS)
    for rate in RATES:
        tails, beats, growths = [], [], defaultdict(list)
        speeds: list[float] = []
        for number in range(bench.runs(RUNS)):
            home = bench.folder / f"{rate}-{number}"
            with installed(home, slots=scripts, agent=PULSING, environment={"PULSE": f"{home}.pulse"}) as installation:
                watch = Watch(installation)
                watch.start()
                try:
                    installation.deploy(_project(scripts, rate))
                finally:
                    watch.stop()
                ((first, last),) = installation.rows("SELECT min(granted_at), max(finished_at) FROM attempts")
            latencies, count = _latencies(installation, Path(f"{home}.pulse"))
            speeds.append(count / (last - first))
            tails.append(sorted(latencies)[int(len(latencies) * 0.99)])
            beats.append(max(pongs(Path(f"{home}.pulse"))))
            for name, values in (("server", watch.server), ("agent", watch.agent)):
                growths[name].append(float(max(values[len(values) // 2 :]) - max(values[: len(values) // 2])))
        what = f"{scripts} scripts, each {rate / 1e6:g} MB/s"
        yield Figure(f"{what}: into the store", Unit.BYTES_PER_SECOND, tuple(speeds))
        yield Figure("printed to durable, the 99th of a hundred", Unit.SECONDS, tuple(tails), bench.goal(AtMost(1)))
        yield Figure("longest wait for a heartbeat, on the agent", Unit.SECONDS, tuple(beats), bench.goal(AtMost(0.1)))
        for name, found in growths.items():
            yield Figure(f"{name}'s memory, first half to second", Unit.BYTES, tuple(found), AtMost(GROWTH_MAX))


def _project(scripts: int, rate: int) -> str:
    words = {"python": sys.executable, "program": ROOT / "benchmarks" / "printing.py", "rate": rate, "seconds": SECONDS}
    steps = "".join(STEP.format(number=number, **words) for number in range(scripts))
    return PROJECT.format(steps=steps, at_a_time=scripts)


def _latencies(installation: Installation, notes: Path) -> tuple[list[float], int]:
    """Return the seconds from print to durable of each piece that still has its time in one, and the bytes of all logs."""
    heard: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in notes.read_text().splitlines():
        if line.startswith("ack "):
            _, ticket, offset, at = line.split()
            heard[ticket].append((int(offset), float(at)))
    found, count = [], 0
    for journal in (installation.data / "logs").glob("*.journal"):
        data, acks = journal.read_bytes(), heard[journal.stem]
        count += len(data)
        for piece in PRINTED.finditer(data):
            place = bisect_left(acks, (piece.end(), 0.0))
            if place < len(acks):  # the end of a log is not acknowledged where the final says all
                found.append(acks[place][1] - float(piece[1]))
    return found, count
