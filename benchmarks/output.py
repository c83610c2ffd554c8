"""A flood of script output: its way through masking, journal and link into the store, and the memory it takes."""

import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench, reconcile
from benchmarks.figures import AtLeast, AtMost, Figure, Line, Ratio, Unit
from benchmarks.measuring import watched
from benchmarks.spaces import write_process

BYTES = 100_000_000
QUARTER = 4
RUNS = 3
SECRETS = {f"FLOOD_SECRET_{number}": f"correct-horse-{number}-battery/staple" for number in range(10)}
LINES = 1_000  # of text that is repeated; every hundredth holds a secret
READ_BYTES = 256 << 10
GROWTH_MAX = 1.25  # of peak memory from a quarter of the output to all of it: the noise of allocators


def measure(bench: Bench) -> Iterator[Line]:
    """Time a script that prints a large file with secrets in it, beside the same through a pipe into a file."""
    size = bench.size(BYTES)
    whole, quarter = bench.folder / "whole.txt", bench.folder / "quarter.txt"
    write_text(whole, size)
    write_text(quarter, size // QUARTER)
    speeds: dict[str, list[float]] = {"bare": [], "ours": []}
    peaks: list[dict[str, int]] = []
    for number in range(bench.runs(RUNS)):
        speeds["bare"].append(size / _piped(whole, bench.folder / "copy"))
        seconds, peak = _deployed(bench.folder / f"space-{number}", whole)
        speeds["ours"].append(size / seconds)
        peaks.append(peak)
    _, small = _deployed(bench.folder / "space-quarter", quarter)
    bare = Figure("through a pipe into a file, synced", Unit.BYTES_PER_SECOND, tuple(speeds["bare"]))
    yield bare
    what = f"into the store, {size // 10**6} MB, {len(SECRETS)} secrets masked"
    yield (ours := Figure(what, Unit.BYTES_PER_SECOND, tuple(speeds["ours"]), bench.goal(AtLeast(60e6))))
    yield Ratio("of the bare pipe's speed", ours, bare)
    for name in ("apply", "agent", "shim"):
        memory = Figure(f"memory of the {name}", Unit.BYTES, tuple(float(peak[name]) for peak in peaks))
        yield memory
        before = Figure(memory.name, Unit.BYTES, (float(small[name]),))
        yield Ratio(f"times that at {size // QUARTER // 10**6} MB", memory, before, bench.goal(AtMost(GROWTH_MAX)))


def write_text(path: Path, size: int) -> None:
    """Write lines of words, the same in every run."""
    chance = random.Random(7)
    secrets = list(SECRETS.values())
    lines = []
    for number in range(LINES):
        words = " ".join(f"{chance.getrandbits(40):x}" for _ in range(9))
        secret = f" password={secrets[number // 100 % len(secrets)]}" if number % 100 == 50 else ""
        lines.append(f"2026-01-01T00:00:00Z INFO {number:06} {words}{secret}\n")
    text = "".join(lines).encode()
    path.write_bytes((text * (size // len(text) + 1))[:size])


def _deployed(space: Path, text: Path) -> tuple[float, dict[str, int]]:
    """Print `text` in a step; return its seconds from grant to end, and the peak memory of each process."""
    variables = "variables:\n" + "".join(
        f"  - {{name: S{number}, type: sensitive, value: {{env: {name}}}}}\n" for number, name in enumerate(SECRETS)
    )
    values = ", ".join(f'S{number}: "${{{{ vars.S{number} }}}}"' for number in range(len(SECRETS)))
    step = f'script: {{syntax: sh, body: \'cat "$TEXT"\'}}\nenv: {{TEXT: "{text}", {values}}}'
    write_process(space, steps=[step], variables=variables)
    peaks = watched(*reconcile("apply", space, "--auto-approve", "--new-state"), environment=SECRETS)
    with sqlite3.connect(f"file:{space}/.reconcile/state.db?mode=ro", uri=True) as state:
        ((granted, finished, ticket),) = state.execute("SELECT granted_at, finished_at, ticket FROM attempts")
    state.close()
    _check(space / ".reconcile" / "logs" / f"{ticket}.journal", text.stat().st_size)
    return finished - granted, peaks


def _check(journal: Path, printed: int) -> None:
    """Insist that the log is whole but for its secrets: else something else was measured."""
    kept = journal.read_bytes()
    assert len(kept) > printed * 0.95
    assert not any(secret.encode() in kept for secret in SECRETS.values())


def _piped(text: Path, copy: Path) -> float:
    """Return the seconds in which `cat` prints `text` into a pipe that we read and write to a durable file."""
    start = time.perf_counter()
    with subprocess.Popen(["cat", text], stdout=subprocess.PIPE) as process, copy.open("wb", buffering=0) as file:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), READ_BYTES):
            file.write(data)
        os.fdatasync(file.fileno())
    return time.perf_counter() - start
