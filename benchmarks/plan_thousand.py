"""Planning 1,000 objects in 1,000 files, beside Terraform with the same objects as resources."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks import peers
from benchmarks.bench import Bench, reconcile
from benchmarks.figures import Absent, AtLeast, Figure, Line, Ratio, Unit
from benchmarks.measuring import Finished, in_turn, timed
from benchmarks.spaces import change_fleet, change_resource, write_fleet, write_resources

OBJECTS = 1_000
RUNS = 7
TERRAFORM = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": "/dev/null"}


def measure(bench: Bench) -> Iterator[Line]:
    """Time a plan without a change and one with a change, both after everything was applied once."""
    size = bench.size(OBJECTS)
    space, module = bench.folder / "space", bench.folder / "terraform"
    write_fleet(space, size)
    applied = timed(*reconcile("apply", space, "--auto-approve"))
    yield (ours := Figure(f"reconcile apply, {size:,} new objects", Unit.SECONDS, (applied.seconds,)))
    try:
        program = peers.terraform()
    except peers.Unavailable as problem:
        yield Absent("terraform", str(problem))
        yield from _alone(bench, space, size)
        return
    write_resources(module, size)
    _terraform(program, module, "init")
    applied = _terraform(program, module, "apply", "-auto-approve")
    yield (theirs := Figure(f"terraform apply, {size:,} new resources", Unit.SECONDS, (applied.seconds,)))
    yield Ratio("times faster", theirs, ours)
    yield from _side_by_side(bench, space, program, module, size)


def _alone(bench: Bench, space: Path, size: int) -> Iterator[Line]:
    edits = count(5)
    found = in_turn(
        bench.runs(RUNS), {"same": lambda: _plan(space), "changed": lambda: _plan_change(space, size, next(edits))}
    )
    yield Figure("reconcile plan, nothing changed", Unit.SECONDS, found["same"])
    yield Figure("reconcile plan, one file changed", Unit.SECONDS, found["changed"])


def _side_by_side(bench: Bench, space: Path, program: Path, module: Path, size: int) -> Iterator[Line]:
    edits = count(5)

    def terraform_change() -> float:
        change_resource(module, size, size // 2, slots=next(edits))
        return _terraform(program, module, "plan").seconds

    for what, ours, theirs in (
        ("nothing changed", lambda: _plan(space), lambda: _terraform(program, module, "plan").seconds),
        ("one file changed", lambda: _plan_change(space, size, next(edits)), terraform_change),
    ):
        found = in_turn(bench.runs(RUNS), {"ours": ours, "theirs": theirs})
        yield (mine := Figure(f"reconcile plan, {what}", Unit.SECONDS, found["ours"]))
        yield (other := Figure(f"terraform plan, {what}", Unit.SECONDS, found["theirs"]))
        yield Ratio("times faster", other, mine, bench.goal(AtLeast(3)))


def _plan(space: Path) -> float:
    return timed(*reconcile("plan", space)).seconds


def _plan_change(space: Path, size: int, slots: int) -> float:
    change_fleet(space, size, slots)
    return _plan(space)


def _terraform(program: Path, module: Path, command: str, *arguments: str) -> Finished:
    return timed(program, command, "-input=false", *arguments, cwd=module, environment=TERRAFORM)
