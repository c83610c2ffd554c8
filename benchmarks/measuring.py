"""Children that are timed and watched, and things measured in turn."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY = 0.02  # seconds between looks at the memory of a tree: some fifty in the shortest run
OUTPUT_SHOWN = 2_000  # characters of a failing command's output
SLOWING = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONDEVMODE", "PYTHONTRACEMALLOC"}
GENERATIONS = ("apply", "agent", "nursery", "shim")  # who starts whom, from a command down to the script


class CommandFailed(Exception):
    """A command that is measured ended otherwise than it must."""

    def __init__(self, arguments: Sequence[str], status: int, output: str) -> None:
        super().__init__(f"{' '.join(arguments)} ended with {status}; it said:\n{output[-OUTPUT_SHOWN:]}")


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that has ended: its time from start to end in seconds, its largest process in bytes."""

    seconds: float
    memory: int


def timed(*arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end; raises CommandFailed unless it exits 0."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = _started(arguments, cwd, environment, output.fileno())
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        _check(process, arguments, output.fileno())
    return Finished(seconds, usage.ru_maxrss * 1024)


def watched(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """Run a command to its end and return the peak memory in bytes of each generation of its tree."""
    peaks = dict.fromkeys(GENERATIONS, 0)
    with tempfile.TemporaryFile() as output:
        process = _started(arguments, None, environment, output.fileno())
        descriptor = os.pidfd_open(process.pid)
        try:
            while not select.select([descriptor], [], [], LOOK_EVERY)[0]:
                for depth, pid in _tree(process.pid):
                    peaks[GENERATIONS[depth]] = max(peaks[GENERATIONS[depth]], _peak(pid))
        finally:
            os.close(descriptor)
        process.wait()
        _check(process, arguments, output.fileno())
    return peaks


def in_turn(runs: int, things: Mapping[str, Callable[[], float]]) -> dict[str, tuple[float, ...]]:
    """Measure each thing `runs` times, A B A B, so that what else the machine does meets all alike.

    A round before them is not counted: it fills the caches of bytecode and disk.
    """
    found: dict[str, list[float]] = {name: [] for name in things}
    for measure in things.values():
        measure()
    for _ in range(runs):
        for name, measure in things.items():
            found[name].append(measure())
    return {name: tuple(values) for name, values in found.items()}


def _started(
    arguments: Sequence[str | Path], cwd: Path | None, environment: Mapping[str, str] | None, output: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        arguments,
        cwd=cwd,
        env=_surroundings() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _surroundings() -> dict[str, str]:
    """Return our environment without what changes a measured program: settings for Git, for us, for slow Pythons."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in SLOWING and not name.startswith(("GIT_", "RECONCILE_"))
    }


def _check(process: "subprocess.Popen[bytes]", arguments: Sequence[str | Path], output: int) -> None:
    if process.returncode:
        said = os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace")
        raise CommandFailed([str(argument) for argument in arguments], process.returncode, said)


def _tree(pid: int, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Yield a process and those it started, each with its generation; what has ended meanwhile is left out.

    Of a command's own children only the agent counts: a fork on its way to another program still looks as large as the command.
    """
    yield depth, pid
    if depth + 1 == len(GENERATIONS):
        return
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        for thread in threads:
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                if depth or _is_agent(int(child)):
                    yield from _tree(int(child), depth + 1)
    except (FileNotFoundError, ProcessLookupError):
        return


def _is_agent(pid: int) -> bool:
    return b"reconciler.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0
