"""Limits from YAML to the kernel: of a step on the server's own machine, and of a worker for all its steps."""

import os
from pathlib import Path

import pytest

from reconciler.agent import cgroups
from reconciler.model.live import StepState, TaskState
from tests.agent.test_limits import FORKS
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import space_in, step

EATS = "kept = bytearray(200 << 20); kept[::4096] = b'x' * (200 << 8); print(len(kept))"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.geteuid() != 0 or (None in map(cgroups.home, cgroups.CONTROLLERS) and cgroups.home() is None),
        reason="limits need cgroups with controllers that root may write",
    ),
]


def test_a_step_that_needs_more_memory_than_it_declares_fails_and_says_so(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        space.declare(
            step("Eat", EATS, syntax="python", limits={"memory": "48MiB"}),
            step("Eat much", EATS, syntax="python", limits={"memory": "1GiB"}, condition="always"),
        )
        space.start("apply", "--auto-approve", "--new-state").process.wait(timeout=60)
        assert space.states() == {"Eat": "failed", "Eat much": "succeeded"}
        assert space.runs()["Eat"].reason == (
            "processes of it were killed because together they used more than the memory limit of 48 MiB"
        )


def test_no_attempt_gets_more_on_a_worker_than_that_declares(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        space.write("pool", {"kind": "WorkerPool", "metadata": {"name": "linux"}, "spec": {}})
        fleet = Fleet(space, port=free_port())
        fleet.prepare()
        fleet.serve()
        document = fleet.enrol("w1", "linux")
        fleet.declare("w1", document.replace("\nspec:\n", "\nspec:\n  limits: {processes: 6}\n"))
        fleet.commit()
        fleet.agents["w1"].start()
        fleet.until_connected()
        place = {"runOn": "workerPool", "pool": "linux"}
        names = {"All": {}, "Fewer": {"limits": {"processes": 4}}, "More": {"limits": {"processes": 40}}}
        steps = [step(name, FORKS, syntax="python", location=place, **fields) for name, fields in names.items()]
        space.declare(*steps)
        fleet.commit()
        until(lambda: space.tasks() and space.task().state is TaskState.SUCCEEDED, "the deployment", FOLLOWS_WITHIN)
        assert {run.state for run in space.runs().values()} == {StepState.SUCCEEDED}
        assert [space.log(attempt.ticket).decode() for attempt in space.attempts()] == ["5\n", "3\n", "5\n"]
