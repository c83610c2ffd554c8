"""Kill -9 whoever works, at random moments, until `apply` has come to its end: the outcome is that of a quiet run.

    pytest tests/chaos --kills=200        what `make chaos` runs; --kills-from=SEED begins with another seed

Killed are the engine (`reconcile apply` itself), its agent, the nursery that forks the shims, or all three at once;
never a shim, of which no more is promised than that its attempt is lost and not repeated. That the suite catches
what it is for was seen with bugs planted on a copy:

* an engine that takes an attempt of which it has heard nothing for one that never started, and grants another: a second
  attempt, and once a second start (2 of 15 campaigns);
* an engine that takes up a running task without its live attempts: `apply` never ended (5 of 10 campaigns);
* an agent that does not look at its tickets when it starts: a step that went on was called lost (1 of 6 campaigns).
"""

import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler.model.live import AttemptState, StepState, TaskState
from tests.chaos.conftest import KILLS_MAX
from tests.chaos.processes import PATIENCE, Process, until
from tests.chaos.space import AUTO, Apply, Space
from tests.chaos.workloads import Workload, bookshop, workshop

pytestmark = pytest.mark.end_to_end

PAUSE_MAX = 1.5  # seconds between two kills: a quiet apply takes a little longer
ENGINE, AGENT, NURSERY, ALL = "engine", "agent", "nursery", "all but the shims"
VICTIMS = (ENGINE, ENGINE, AGENT, NURSERY, ALL)

Deployable = Callable[[Path], AbstractContextManager[Workload]]
WORKLOADS: tuple[Deployable, ...] = (bookshop, workshop)


@cache
def quiet_outcome(workload: Deployable) -> dict[str, object]:
    """Deploy once without any kill."""
    with TemporaryDirectory() as folder, workload(Path(folder)) as undisturbed:
        undisturbed.space.apply()
        assert undisturbed.space.starts() == undisturbed.starts
        return undisturbed.outcome()


def test_kills_at_any_moment_change_nothing_of_the_outcome(
    seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(seed)
    deployable = WORKLOADS[seed % len(WORKLOADS)]
    with deployable(tmp_path) as workload:
        for hit in torment(workload.space, chance):
            record_property("hit", hit)
        assert workload.space.starts() == workload.starts, "every step starts exactly once"
        assert workload.outcome() == quiet_outcome(deployable)
        until(lambda: not workload.space.family.members(), "the end of every process")


def torment(space: Space, chance: random.Random) -> list[tuple[str, str]]:
    """Apply again and again, killing on the way, until one apply comes to its end; return who was hit in which phase."""
    hits: list[tuple[str, str]] = []
    while True:
        apply = space.start(*AUTO)
        while len(hits) < KILLS_MAX and not ended_within(apply, chance.uniform(0, PAUSE_MAX)):
            hits += strike(space, apply, chance.choice(VICTIMS))
        code = apply.process.wait(timeout=PATIENCE)
        if code == 0:
            return hits
        assert code == -signal.SIGKILL, apply.text()


def ended_within(apply: Apply, seconds: float) -> bool:
    try:
        apply.process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def strike(space: Space, apply: Apply, victim: str) -> list[tuple[str, str]]:
    """Kill; nothing where the victim is not there at this moment."""
    agent, nursery = space.family.agent_of(apply.pid), space.family.nursery_of(apply.pid)
    engine = Process(apply.pid, 0, "")
    chosen = {ENGINE: [engine], AGENT: [agent], NURSERY: [nursery], ALL: [engine, agent, nursery]}[victim]
    killed = [found for found in chosen if found is not None]
    phase = phase_of(space)
    for found in killed:
        found.signal()
    return [(victim, phase)] if killed else []


def phase_of(space: Space) -> str:
    """Say in a few words how far the deployment is."""
    if not space.tasks():
        return "before the task was queued"
    task = space.task()
    if task.state is TaskState.QUEUED:
        return "while the task was queued"
    if task.state.ended:
        return "after the task's end"
    if any(one.state is AttemptState.GRANTED for one in space.attempts()):
        return "between a grant and its start"
    if any(one.state is AttemptState.RUNNING for one in space.attempts()):
        return "while a script ran"
    if any(run.state is StepState.RUNNING for run in space.runs().values()):
        return "while a retry waited"
    return "between two steps"
