"""One ticket between a real server and a real agent: no fault breaks a guarantee, and planted bugs are found."""

import random
from collections.abc import Iterator

import pytest

from tests.simulation.adversary import PLAYS, WALK_FAULTS, Schedule, explored, extended, hunted, replayed, story, walked
from tests.simulation.plants import PLANTS

SHARES = 8
"""Parts of all pairs, side by side where there are processors."""

PARTS = 7
"""Parts of the placements of one fault; seeds that `make sim` is given go through them."""

RUNS_MAX = 300
"""Within which each planted bug is found."""

WALKS = 8
"""Random walks of each play and seed."""


def ones(play: str, seed: int, *, part: bool) -> list[Schedule]:
    """Return every placement of one fault; with `part`, the part of them that the seed chooses."""
    found = extended(play)
    return found[seed % PARTS :: PARTS] if part else found


def pairs(play: str, share: int, seed: int, most: int | None) -> Iterator[Schedule]:
    """Yield pairs of faults: all of this share, or as many as are wanted, drawn at random."""
    chance = random.Random(seed * SHARES + share)
    firsts = extended(play)[share::SHARES]
    if most is None:
        for first in firsts:
            yield from extended(play, first)
        return
    for first in chance.sample(firsts, min(len(firsts), most // SHARES)):
        yield from chance.sample(seconds := extended(play, first), min(1, len(seconds)))


def test_the_same_schedule_is_the_same_story() -> None:
    schedule = ((12, "server killed"), (20, "agent killed"), (31, "double <"))
    assert story("plain", schedule) == story("plain", schedule)


@pytest.mark.parametrize("play", PLAYS)
def test_no_single_fault_breaks_a_guarantee(play: str, sweep: int, pairs_max: int | None) -> None:
    assert replayed(play, ()) is None
    for found in explored(play, ones(play, sweep, part=pairs_max is not None)):
        pytest.fail(str(found))


@pytest.mark.timeout(0)  # all pairs take as long as they take
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("play", PLAYS)
def test_no_pair_of_faults_breaks_a_guarantee(play: str, share: int, sweep: int, pairs_max: int | None) -> None:
    for found in explored(play, pairs(play, share, sweep, pairs_max)):
        pytest.fail(str(found))


@pytest.mark.parametrize("walk", range(WALKS))
@pytest.mark.parametrize("play", PLAYS)
def test_many_faults_in_a_row_break_no_guarantee(play: str, walk: int, sweep: int) -> None:
    found = walked(play, sweep * WALKS + walk, WALK_FAULTS)
    assert found is None, str(found)


@pytest.mark.parametrize("seed", [1209, 1331, 1748, 1893])
@pytest.mark.parametrize("play", PLAYS)
def test_walks_that_once_broke_a_guarantee_break_none(play: str, seed: int) -> None:
    found = walked(play, seed, WALK_FAULTS)
    assert found is None, str(found)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANTS[name]
    monkeypatch.setattr(plant.owner, plant.name, plant.faulty)
    found = hunted(plant.play, plant.kinds, plant.guarantee, RUNS_MAX)
    assert found is not None, f"no breach of {plant.guarantee} in {RUNS_MAX} runs"
