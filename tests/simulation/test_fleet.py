"""A fleet on virtual time: no seed breaks a guarantee, the same seed is the same story, and planted bugs are found."""

import hashlib
import os
import subprocess
import sys

import pytest

from tests.simulation.fleet_faults import SEVERAL
from tests.simulation.fleet_plants import PLANTS
from tests.simulation.fleet_runs import hunted, lived, told

SHARES = 8
"""Parts of the seeds, side by side where there are processors."""

RUNS_MAX = 60
"""Seeds within which each planted bug is found."""

TOLD = (3, 14, 40)
"""Seeds whose stories are compared: of many faults each."""

TOLD_OF_SEVERAL = 4
"""A seed of several servers, with more changes of the lead than most."""


@pytest.mark.parametrize("seed", TOLD)
def test_the_same_seed_is_the_same_story(seed: int) -> None:
    assert told(seed) == told(seed)


def stories() -> str:
    """Return some stories, one of them of several servers."""
    found = [told(seed) for seed in TOLD] + [told(TOLD_OF_SEVERAL, SEVERAL, several=True)]
    return "".join(f"{line}\n" for story in found for line in story)


def test_the_same_seed_is_the_same_story_whatever_else_is_in_memory() -> None:
    """Sets of words are in another order in each process."""
    script = "from tests.simulation.test_fleet import stories; print(stories(), end='')"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": chosen},
        ).stdout
        for chosen in ("1", "2")
    }
    here = stories().encode()
    assert {hashlib.sha256(story).hexdigest() for story in found} == {hashlib.sha256(here).hexdigest()}


@pytest.mark.timeout(0)  # as many seeds as are wanted take as long as they take
@pytest.mark.parametrize("share", range(SHARES))
def test_no_seed_breaks_a_guarantee(share: int, sweep: int, seeds_max: int) -> None:
    for seed in range(sweep + share, sweep + seeds_max, SHARES):
        found = lived(seed)
        assert found is None, str(found)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANTS[name]
    for owner, attribute, faulty in plant.patches:
        monkeypatch.setattr(owner, attribute, faulty, raising=False)
    found = hunted(plant.guarantee, range(plant.first, plant.first + RUNS_MAX), plant.kinds)
    assert found is not None, f"no breach of {plant.guarantee} in {RUNS_MAX} seeds"
