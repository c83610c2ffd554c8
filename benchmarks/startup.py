"""How long a person waits for a command that has next to nothing to do."""

from collections.abc import Iterator

from benchmarks.bench import RECONCILE, ROOT, Bench, reconcile
from benchmarks.figures import AtMost, Figure, Line, Unit
from benchmarks.measuring import in_turn, timed
from benchmarks.spaces import copy_repository

RUNS = 15


def measure(bench: Bench) -> Iterator[Line]:
    """Time `--help` and the validation of the quickstart example; the bare interpreter stands beside them."""
    space = bench.folder / "quickstart"
    copy_repository(ROOT / "examples" / "quickstart", space)
    found = in_turn(
        bench.runs(RUNS),
        {
            "python": lambda: timed(RECONCILE.with_name("python"), "-c", "").seconds,
            "help": lambda: timed(RECONCILE, "--help").seconds,
            "validate": lambda: timed(*reconcile("validate", space)).seconds,
        },
    )
    yield Figure("python -c ''", Unit.SECONDS, found["python"])
    yield Figure("reconcile --help", Unit.SECONDS, found["help"], AtMost(0.15))
    yield Figure("reconcile validate, the quickstart example", Unit.SECONDS, found["validate"], AtMost(0.4))
