"""A server that is killed: what the agent ends by itself, what goes on, and what the next server makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import AttemptState, StepState, TaskState
from reconciler.protocol.journal import Kind
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Space, gate, space_in, step

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

LOST_AFTER = 15  # seconds: three times the interval of a session, below which nobody is given up
POLICY = {
    "kind": "MachinePolicy",
    "metadata": {"name": "hasty"},
    "spec": {"default": True, "connection": {"lostAfter": f"{LOST_AFTER}s"}},
}
PLACE = {"runOn": "workerPool", "pool": "linux"}
KILLED = "nothing of it runs after 15 s of silence"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a server and one agent, which are connected."""
    with space_in(tmp_path) as space:
        space.write("pool", {"kind": "WorkerPool", "metadata": {"name": "linux"}, "spec": {}}, POLICY)
        found = Fleet(space, port=free_port())
        found.prepare()
        found.serve()
        found.declare("w1", found.enrol("w1", "linux"))
        found.commit()
        found.agents["w1"].start()
        found.until_connected()
        yield found


def begin(fleet: Fleet, **fields: object) -> Space:
    """Let one step run and wait until its script does."""
    fleet.space.declare(step("Ship", gate(), location=PLACE, **fields))
    fleet.commit()
    fleet.space.until_started("Ship")
    return fleet.space


@pytest.mark.parametrize("agent_dies", [False, True])
def test_a_script_that_is_not_to_run_alone_is_stopped_and_counts_as_lost(fleet: Fleet, agent_dies: bool) -> None:
    space, agent = begin(fleet, onDisconnect="stop", limits={"processes": 50}), fleet.agents["w1"]
    fleet.kill_server()
    if agent_dies:
        agent.kill()
    assert agent.scripts()
    until(lambda: not agent.scripts(), "the end of the script", LOST_AFTER + 2)
    assert space.states() == {"Ship": "running"}
    fleet.serve()
    if agent_dies:
        agent.start()
    until(lambda: space.task().state is TaskState.FAILED, "the end of the task", FOLLOWS_WITHIN)
    until(lambda: space.attempts()[0].state is AttemptState.ENDED, "the news of its end", FOLLOWS_WITHIN)
    run, (attempt,) = space.runs()["Ship"], space.attempts()
    assert run.state is StepState.LOST
    if agent_dies:  # the other one may call so late that the server has given it up before it hears
        assert run.reason == "stopped by its worker, which had lost the server; nothing of it is left running"
    assert "CutOff" in attempt.ending
    assert KILLED in space.log(attempt.ticket, Kind.SYSTEM).decode()
    assert space.starts() == {"Ship": 1}


def test_a_script_that_is_held_is_never_given_up(fleet: Fleet) -> None:
    space, agent = begin(fleet, onDisconnect="hold"), fleet.agents["w1"]
    agent.kill()
    until(lambda: not fleet.connected(), "the silence of the worker", FOLLOWS_WITHIN)
    with pytest.raises(AssertionError, match="the end of the step"):
        until(lambda: space.runs()["Ship"].state is not StepState.RUNNING, "the end of the step", LOST_AFTER + 5)
    space.open()
    agent.start()
    until(lambda: space.task().state is TaskState.SUCCEEDED, "the end of the task", FOLLOWS_WITHIN)
    assert space.starts() == {"Ship": 1}
