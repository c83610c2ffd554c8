"""What every benchmark is given: a folder to work in, and how much to measure."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal

RECONCILE = Path(sys.executable).with_name("reconcile")
ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """One benchmark's surroundings; `folder` is empty and its own."""

    folder: Path
    is_quick: bool

    def size(self, full: int) -> int:
        """Return how many things to make: a tenth of `full` in a quick run."""
        return full // 10 if self.is_quick else full

    def runs(self, full: int) -> int:
        """Return how often to measure: once in a quick run."""
        return 1 if self.is_quick else full

    def goal(self, full: Goal) -> Goal | None:
        """Return the goal; None in a quick run, whose sizes are others."""
        return None if self.is_quick else full


def reconcile(command: str, root: Path, *arguments: str) -> Sequence[str]:
    """Return the argument vector of a command on the space at `root`."""
    return [str(RECONCILE), command, "-C", str(root), *arguments]
