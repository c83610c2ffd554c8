"""Several servers on one store, on virtual time: no seed breaks a guarantee, and planted bugs are found."""

import pytest

from tests.simulation.fleet_faults import SEVERAL
from tests.simulation.fleet_node_plants import NODE_PLANTS
from tests.simulation.fleet_runs import hunted, lived, told

SHARES = 8
"""Parts of the seeds, side by side where there are processors."""

RUNS_MAX = 20
"""Seeds within which each planted bug is found."""

TOLD = 4
"""A seed whose story is compared: of several changes of the lead."""


def test_the_same_seed_is_the_same_story() -> None:
    story = told(TOLD, SEVERAL, several=True)
    assert story == told(TOLD, SEVERAL, several=True)
    assert sum("takes the lead" in event for event in story) > 2


@pytest.mark.timeout(0)  # as many seeds as are wanted take as long as they take
@pytest.mark.parametrize("share", range(SHARES))
def test_no_seed_breaks_a_guarantee(share: int, sweep: int, node_seeds_max: int) -> None:
    for seed in range(sweep + share, sweep + node_seeds_max, SHARES):
        found = lived(seed, SEVERAL, several=True)
        assert found is None, str(found)


@pytest.mark.parametrize("name", NODE_PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = NODE_PLANTS[name]
    for owner, attribute, faulty in plant.patches:
        monkeypatch.setattr(owner, attribute, faulty, raising=False)
    found = hunted(plant.guarantee, range(plant.first, plant.first + RUNS_MAX), plant.kinds, several=True)
    assert found is not None, f"no breach of {plant.guarantee} in {RUNS_MAX} seeds"
