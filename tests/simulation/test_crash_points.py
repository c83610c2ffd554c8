"""An engine that dies before or after any one of its writes loses nothing, repeats nothing and ends the same."""

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.model.pinned import Pinned
from reconciler.protocol.tickets import Exited, Lost
from tests.simulation.world import Fate, Outcome, Script, World

pytestmark = pytest.mark.end_to_end  # real processes, and many of them

NEVER = 10**9


def process(chance: random.Random) -> tuple[Pinned, dict[int, Script]]:
    """Make a process of a few steps with every kind of condition, retries and companions, and how its attempts end."""
    steps, scripts = [], {}
    for index in range(chance.randint(2, 5)):
        conditions = ["success", "success", "failure", "always", "${{ release == '1' }}"]
        step = {
            "name": f"s{index}",
            "condition": chance.choice(conditions),
            "start": chance.choice(["afterPrevious", "afterPrevious", "withPrevious"]),
            "retry": {"attempts": chance.randint(1, 3), "backoff": "1ms", "onWorkerLost": chance.random() < 0.5},
            "script": {"syntax": "sh", "body": ":"},
        }
        steps.append(step)
        kinds = [Exited(0), Exited(0), Exited(0), Exited(1), Lost("the supervisor died")]
        scripts[index] = Script(tuple(chance.choice(kinds) for _ in range(3)))
    deployment = {"project": "p", "release": "1", "environment": "e"}
    pinned = {"space": "s", "deploymentName": "d", "deployment": deployment, "project": {"process": steps}}
    return Pinned.model_validate_json(json.dumps(pinned)), scripts


def run(folder: Path, seed: int, deaths: list[Fate]) -> tuple[World, int]:
    """Run one task through engines that die at `deaths` and a last one that does not; count the writes of the first."""
    pinned, scripts = process(random.Random(seed))
    world = World(folder, pinned, scripts, random.Random(seed + 1))
    fates = [*deaths, Fate(NEVER, after=True)]
    # In a thread of its own: CPython 3.11 miscounts the depth of recursion after many thrown coroutines, per thread.
    with ThreadPoolExecutor(1) as thread:
        for fate in fates:
            if thread.submit(asyncio.run, world.live(fate)).result():
                break
    return world, fates[0].writes


def check(world: World, undisturbed: Outcome) -> None:
    assert world.outcome() == undisturbed
    assert set(world.worker.started.values()) <= {1}, "a ticket was started twice"
    for step, number, _ in undisturbed.attempts:
        assert world.worker.starts[step] >= number
    assert sum(world.worker.starts.values()) == len(undisturbed.attempts), "a step was started once too often"


@pytest.mark.parametrize("seed", range(4))
def test_a_death_at_any_write_changes_nothing(tmp_path: Path, seed: int, sweep: int) -> None:
    seed += sweep
    world, writes = run(tmp_path / "undisturbed", seed, [])
    undisturbed = world.outcome()
    world.store.close()
    for at in range(1, writes + 1):
        for after in (False, True):
            disturbed, _ = run(tmp_path / f"{at}-{after}", seed, [Fate(at, after=after)])
            check(disturbed, undisturbed)
            disturbed.store.close()


@pytest.mark.parametrize("seed", range(6))
def test_many_deaths_in_a_row_change_nothing(tmp_path: Path, seed: int, sweep: int) -> None:
    seed += sweep
    world, writes = run(tmp_path / "undisturbed", seed, [])
    undisturbed = world.outcome()
    world.store.close()
    chance = random.Random(seed)
    deaths = [Fate(chance.randint(1, max(2, writes // 2)), after=chance.random() < 0.5) for _ in range(8)]
    disturbed, _ = run(tmp_path / "disturbed", seed, deaths)
    check(disturbed, undisturbed)
    disturbed.store.close()
