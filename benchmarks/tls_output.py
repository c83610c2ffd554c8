"""A flood of script output from an agent over TLS: its speed, what it delays meanwhile, and what it takes of memory."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figures import AtLeast, AtMost, Figure, Line, Unit
from benchmarks.installation import Installation, installed, memory
from benchmarks.output import BYTES, write_text

RUNS = 3
PULSING = (sys.executable, "-m", "benchmarks.pulse")
LOOK_EVERY = 0.05  # seconds between two looks at memory and health while it flows
MEMORY_GROWTH_MAX = 32e6  # bytes: windows and buffers of one log on either side

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
    - name: Flood
      location: {{runOn: workerPool, pool: agents}}
      script: {{syntax: sh, body: 'cat "{text}"'}}
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: measured}}
spec: {{project: measured, release: "1", environment: production}}
"""


class Watch(threading.Thread):
    """Watches from outside while something flows: the memory of server and agent, how long the server lets others wait."""

    def __init__(self, installation: Installation) -> None:
        super().__init__()
        self._installation = installation
        self._over = threading.Event()
        self.server: list[int] = [memory(installation.pid)]
        self.agent: list[int] = []
        self.waits: list[float] = []

    def run(self) -> None:
        """Look until stopped."""
        while not self._over.wait(LOOK_EVERY):
            begun = time.perf_counter()
            self._installation.is_healthy()
            self.waits.append(time.perf_counter() - begun)
            self.server.append(memory(self._installation.pid))
            assert self._installation.agent is not None
            self.agent.append(memory(self._installation.agent.pid))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def measure(bench: Bench) -> Iterator[Line]:
    """Time a script that prints a large file on an agent; heartbeats wait as long as a question for the health does."""
    size = bench.size(BYTES)
    text = bench.folder / "text"
    write_text(text, size)
    speeds, waits, beats, growths = [], [], [], []
    for number in range(bench.runs(RUNS)):
        home = bench.folder / f"flood-{number}"
        with installed(home, slots=1, agent=PULSING, environment={"PULSE": f"{home}.pulse"}) as installation:
            watch = Watch(installation)
            watch.start()
            try:
                installation.deploy(DEPLOYMENT.format(text=text))
            finally:
                watch.stop()
            ((granted, finished),) = installation.rows("SELECT granted_at, finished_at FROM attempts")
            _check(installation, text)
        speeds.append(size / (finished - granted))
        waits.append(max(watch.waits))
        beats.append(max(pongs(Path(f"{home}.pulse"))))
        growths.append(float(max(watch.server) - watch.server[0]))
    what = f"into the store, {size // 10**6} MB"
    yield Figure(what, Unit.BYTES_PER_SECOND, tuple(speeds), bench.goal(AtLeast(100e6)))
    yield Figure("longest that others wait for the server", Unit.SECONDS, tuple(waits), bench.goal(AtMost(0.1)))
    yield Figure("longest wait for a heartbeat, on the agent", Unit.SECONDS, tuple(beats), bench.goal(AtMost(0.1)))
    yield Figure("growth of the server's memory", Unit.BYTES, tuple(growths), bench.goal(AtMost(MEMORY_GROWTH_MAX)))


def pongs(notes: Path) -> list[float]:
    """Return the seconds that each heartbeat of the agent waited for its answer."""
    return [float(line.split()[1]) for line in notes.read_text().splitlines() if line.startswith("pong ")]


def _check(installation: Installation, text: Path) -> None:
    """Insist that the log is whole: else something else was measured."""
    (journal,) = (installation.data / "logs").glob("*.journal")
    assert journal.stat().st_size > text.stat().st_size
