"""Runs of a fleet: one seed after another, each breach with its whole story."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from tests.simulation.adversary import QUICK
from tests.simulation.fleet_faults import FAULTS
from tests.simulation.fleet_world import FleetWorld
from tests.simulation.witness import Broken


@dataclass(frozen=True, slots=True)
class Found:
    """A breach: what broke, in which seed, and the whole story."""

    breach: Broken
    seed: int
    log: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.breach}", f"seed {self.seed}", *self.log])


def lived(seed: int, kinds: Collection[str] = tuple(FAULTS), *, several: bool = False) -> Found | None:
    """Run a seed, with one server or several; return its breach."""
    with _world(seed, kinds, several=several) as world:
        try:
            world.run()
        except Broken as breach:
            return Found(breach, seed, tuple(world.log))
        except Exception as error:
            error.add_note(str(Found(Broken("none", "an end failed"), seed, tuple(world.log))))
            raise
    return None


def told(seed: int, kinds: Collection[str] = tuple(FAULTS), *, several: bool = False) -> list[str]:
    """Return the events of a run that breaks nothing."""
    with _world(seed, kinds, several=several) as world:
        world.run()
    return world.log


def hunted(
    guarantee: str, seeds: Iterable[int], kinds: Collection[str] = tuple(FAULTS), *, several: bool = False
) -> Found | None:
    """Run seeds until a guarantee is broken; return that breach."""
    for seed in seeds:
        found = lived(seed, kinds, several=several)
        if found is not None and found.breach.guarantee == guarantee:
            return found
    return None


@contextmanager
def _world(seed: int, kinds: Collection[str], *, several: bool) -> Iterator[FleetWorld]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-world-", dir=QUICK if QUICK.is_dir() else None))
    try:
        yield FleetWorld(folder, seed, kinds, several=several)
    finally:
        rmtree(folder, ignore_errors=True)
