"""`apply` without a server runs steps on agents: it listens while it needs them, and may be killed like any engine."""

import os
import signal
from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.fleet import Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end

POOL = "far"


def joined(space: Space) -> Fleet:
    """Let an agent join that polls, by a server that then ends."""
    fleet = Fleet(space, port=free_port())
    space.write("pool", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": {}})
    space.declare(step("Wait", gate(), location={"runOn": "workerPool", "pool": POOL}), step("Then"))
    space.remove("shop-deployment")
    fleet.prepare()
    fleet.serve()
    fleet.declare("far-1", fleet.enrol("far-1", POOL))
    fleet.kill_server()
    fleet.agents["far-1"].start()
    space.deploy("1")
    fleet.commit()
    return fleet


def test_an_agents_step_outlives_the_apply_and_the_next_one_follows_it(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        fleet = joined(space)
        command = ("apply", "--auto-approve", "--new-state", "--agents", fleet.address)
        first = space.start(*command)
        space.until_started("Wait")
        os.kill(first.pid, signal.SIGKILL)
        first.wait(-signal.SIGKILL)
        second = space.start(*command)
        space.open()
        second.wait()
        assert space.task().state is TaskState.SUCCEEDED
        assert space.starts() == {"Wait": 1, "Then": 1}
        assert [attempt.worker for attempt in space.attempts()] == ["far-1", "built-in"]


def test_an_address_that_is_taken_is_said_and_what_was_applied_stands(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        fleet = joined(space)
        other = space.start("serve", "--agents", fleet.address, "--data", str(tmp_path / "other"))
        until(lambda: "serving" in other.text(), "the other server")
        said = space.start("apply", "--auto-approve", "--new-state", "--agents", fleet.address).wait(1)
        other.kill()
        assert f"Error: nothing can listen on {fleet.address}: Address already in use" in said
        assert "choose another address" in said
        assert space.task().state is TaskState.QUEUED
        space.open()
        space.reconcile("apply", "--auto-approve", "--agents", fleet.address)
        assert space.task().state is TaskState.SUCCEEDED
