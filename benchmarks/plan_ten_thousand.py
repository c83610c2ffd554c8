"""Ten thousand objects in ten thousand files: plans, growth, the first apply, memory."""

import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.bench import Bench, reconcile
from benchmarks.figures import AtMost, Figure, Line, Ratio, Unit
from benchmarks.measuring import Finished, in_turn, timed
from benchmarks.spaces import change_fleet, write_fleet

OBJECTS = 10_000
TENTH = 10
RUNS = 5
APPLIES = 3
UNCOUNTED = 1  # the round that comes before those that count


def measure(bench: Bench) -> Iterator[Line]:
    """Time applies to a new state, then plans without and with the parse cache, and Git's reading beside them."""
    size = bench.size(OBJECTS)
    large, small, none = bench.folder / "large", bench.folder / "small", bench.folder / "none"
    write_fleet(large, size)
    write_fleet(small, size // TENTH)
    write_fleet(none, 0)
    applied = [_apply(large, bench.folder / f"state-{number}") for number in range(bench.runs(APPLIES))]
    what = f"reconcile apply, {size:,} new objects"
    yield Figure(what, Unit.SECONDS, tuple(run.seconds for run in applied), bench.goal(AtMost(5)))
    yield _memory("its memory", applied, bench)
    for space in (large, small, none):
        _apply(space, space / ".reconcile")
    yield from _cold(bench, large, small, none, size)
    yield from _warm(bench, large, size)


def _cold(bench: Bench, large: Path, small: Path, none: Path, size: int) -> Iterator[Line]:
    """Time plans that parse everything."""
    plans: list[Finished] = []

    def plan_large() -> float:
        plans.append(_plan_cold(large))
        return plans[-1].seconds

    found = in_turn(
        bench.runs(RUNS),
        {
            "git": lambda: _read_blobs(large),
            "large": plan_large,
            "small": lambda: _plan_cold(small).seconds,
            "none": lambda: _plan_cold(none).seconds,
        },
    )
    yield Figure(f"git cat-file --batch of {size:,} blobs", Unit.SECONDS, found["git"])
    whole = Figure("reconcile plan, nothing parsed before", Unit.SECONDS, found["large"], bench.goal(AtMost(2.5)))
    yield whole
    yield _memory("its memory", plans[UNCOUNTED:], bench)
    tenth = Figure(f"the same, {size // TENTH:,} objects", Unit.SECONDS, found["small"])
    yield tenth
    nothing = Figure("the same, no object", Unit.SECONDS, found["none"])
    yield nothing
    yield Ratio(
        f"times as long for {TENTH} times as many, start left out",
        _less(whole, nothing.value),
        _less(tenth, nothing.value),
        bench.goal(AtMost(TENTH * 1.2)),
    )


def _warm(bench: Bench, space: Path, size: int) -> Iterator[Line]:
    """Time plans that know all files, or all but one."""
    edits = count(5)
    plans: list[Finished] = []

    def plan_change() -> float:
        change_fleet(space, size, next(edits))
        plans.append(_plan(space))
        return plans[-1].seconds

    found = in_turn(bench.runs(RUNS), {"same": lambda: _plan(space).seconds, "changed": plan_change})
    yield Figure("reconcile plan, nothing changed", Unit.SECONDS, found["same"])
    what = "reconcile plan, one file changed"
    yield Figure(what, Unit.SECONDS, found["changed"], bench.goal(AtMost(0.5)))
    yield _memory("its memory", plans[UNCOUNTED:], bench)


def _memory(name: str, runs: list[Finished], bench: Bench) -> Figure:
    return Figure(name, Unit.BYTES, tuple(float(run.memory) for run in runs), bench.goal(AtMost(250e6)))


def _less(figure: Figure, seconds: float) -> Figure:
    return Figure(figure.name, figure.unit, tuple(value - seconds for value in figure.values))


def _apply(space: Path, state: Path) -> Finished:
    return timed(*reconcile("apply", space, "--auto-approve", "--data", str(state)))


def _plan(space: Path) -> Finished:
    return timed(*reconcile("plan", space))


def _plan_cold(space: Path) -> Finished:
    for file in (space / ".reconcile" / "cache").iterdir():
        file.unlink()
    return _plan(space)


def _read_blobs(space: Path) -> float:
    """Time the reading of every file of HEAD through one process of Git."""
    listed = subprocess.run(["git", "-C", space, "ls-tree", "-r", "HEAD"], check=True, capture_output=True).stdout
    names = space / ".git" / "names"
    names.write_bytes(b"".join(line.split()[2] + b"\n" for line in listed.splitlines()))
    return timed("sh", "-c", f"git cat-file --batch <{names}", cwd=space).seconds
