"""The cost of a step that does nothing, with everything durable, beside a bare process and Ansible's tasks."""

import asyncio
import os
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from benchmarks import peers
from benchmarks.bench import Bench, reconcile
from benchmarks.figures import Absent, AtMost, Figure, Line, Ratio, Unit
from benchmarks.measuring import timed
from benchmarks.spaces import write_process

STEPS = 300
ROUNDS = 3
SYNCS = 100
SHELLS = ("sh", "bash")
ANSIBLE_TASKS = {"raw": "ansible.builtin.raw: ':'", "command": "ansible.builtin.command: 'true'"}
TASKS = 20
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
"""
ANSIBLE = {
    "ANSIBLE_LOCALHOST_WARNING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    "LC_ALL": "C.UTF-8",
}


def measure(bench: Bench) -> Iterator[Line]:
    """Run deployments of no-op steps one after another; times come from the store."""
    steps = bench.size(STEPS)
    try:
        programs: Path | None = peers.ansible()
    except peers.Unavailable as problem:
        programs = None
        yield Absent("Ansible", str(problem))
    if programs is not None:
        for task in ANSIBLE_TASKS.values():
            _play(bench.folder, programs, task, 1)  # not counted: it fills the caches of bytecode and disk
    found: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(bench.runs(ROUNDS)):
        for shell in SHELLS:
            attempts = _deployed(bench.folder / f"{shell}-{number}", shell, steps)
            found[f"{shell} whole"] += [finished - granted for granted, finished in attempts]
            found[f"{shell} between"] += [after[0] - before[0] for before, after in pairwise(attempts)]
        found["bare"] += asyncio.run(_spawned(steps))
        found["sync"] += _synced(bench.folder / "synced")
        if programs is not None:
            for module, task in ANSIBLE_TASKS.items():
                found[module].append(_task(bench.folder, programs, task, bench.size(TASKS)))
    yield from _lines({name: tuple(values) for name, values in found.items()})


def _lines(found: Mapping[str, tuple[float, ...]]) -> Iterator[Line]:
    yield Figure("one write of 4 kB and fsync on this disk", Unit.SECONDS, found["sync"])
    yield (bare := Figure("asyncio spawns `sh -c :`, nothing kept", Unit.SECONDS, found["bare"]))
    ours: dict[str, Figure] = {}
    for shell in SHELLS:
        ours[shell] = Figure(f"{shell} step, step to step", Unit.SECONDS, found[f"{shell} between"], AtMost(0.005))
        yield Figure(f"{shell} step, granted to finished", Unit.SECONDS, found[f"{shell} whole"], AtMost(0.005))
        yield ours[shell]
        yield Ratio("times the bare process", ours[shell], bare)
    for module in [module for module in ANSIBLE_TASKS if module in found]:
        yield (theirs := Figure(f"Ansible task, module {module}, local", Unit.SECONDS, found[module]))
        yield Ratio("times faster is an sh step", theirs, ours["sh"])


def _deployed(space: Path, shell: str, steps: int) -> list[tuple[float, float]]:
    """Run a deployment and return when each attempt was granted and finished, in order."""
    write_process(space, steps=[f"script: {{syntax: {shell}, body: ':'}}"] * steps)
    timed(*reconcile("apply", space, "--auto-approve", "--new-state"))
    with sqlite3.connect(f"file:{space}/.reconcile/state.db?mode=ro", uri=True) as state:
        rows = state.execute("SELECT granted_at, finished_at FROM attempts ORDER BY granted_at").fetchall()
    state.close()
    assert len(rows) == steps
    return rows


async def _spawned(count: int) -> list[float]:
    """Start `sh -c :` so often, and return the seconds from each start to its collected end."""
    if sys.version_info < (3, 12):  # later versions choose it by themselves
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
    found = []
    for _ in range(count):
        start = time.perf_counter()
        process = await asyncio.create_subprocess_exec("sh", "-c", ":")
        await process.wait()
        found.append(time.perf_counter() - start)
    return found


def _synced(path: Path) -> list[float]:
    found = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(SYNCS):
        start = time.perf_counter()
        os.write(descriptor, bytes(4096))
        os.fsync(descriptor)
        found.append(time.perf_counter() - start)
    os.close(descriptor)
    return found


def _task(folder: Path, programs: Path, task: str, count: int) -> float:
    """Return the seconds of one task: a play of so many and one, less a play of one, so that the start is left out."""
    return (_play(folder, programs, task, count + 1) - _play(folder, programs, task, 1)) / count


def _play(folder: Path, programs: Path, task: str, count: int) -> float:
    play, settings = folder / "play.yml", folder / "ansible.cfg"
    play.write_text(PLAY + f"    - {task}\n" * count)
    settings.touch()
    surroundings = ANSIBLE | {
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    return timed(programs / "ansible-playbook", "-i", "localhost,", str(play), environment=surroundings).seconds
