"""A machine becomes a worker in one line: what the real agent prints at its enrolment goes into Git, and is carried out."""

import subprocess
from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.fleet import FOLLOWS_WITHIN, Agent, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import space_in, step

pytestmark = pytest.mark.end_to_end

POOL = "far"
LINE = (
    "reconcile token create --worker far-1 --pool {pool}"
    " | reconcile agent enrol --state {state} --server {address} --token-file -"
    " | reconcile declare --commit --author 'Ada <ada@example.com>'"
)


def test_an_enrolment_that_is_declared_in_one_line_gets_work(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        fleet = Fleet(space, port=free_port())
        space.write("pool", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": {}})
        space.declare(step("Work", location={"runOn": "workerPool", "pool": POOL}))
        fleet.prepare()
        fleet.serve()
        agent = fleet.agents["far-1"] = Agent(space, "far-1")
        line = LINE.format(pool=POOL, state=agent.state, address=fleet.address)
        done = subprocess.run(
            ["sh", "-c", line], cwd=space.folder, env=space.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "committed it to main as " in done.stderr
        declared = (space.folder / "workers" / "far-1.yaml").read_text()
        assert "  name: far-1\n" in declared
        agent.start()
        fleet.until_connected()
        until(lambda: space.task().state is TaskState.SUCCEEDED, "the task", FOLLOWS_WITHIN)
        assert [attempt.worker for attempt in space.attempts()] == ["far-1"]
        again = (space.folder / "workers" / "far-1.yaml").read_text()
        said = subprocess.run(
            ["reconcile", "declare", "--commit", "--author", "Ada <ada@example.com>"],
            cwd=space.folder, env=space.environment, input=again, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert said.stderr.startswith("main says so already: workers/far-1.yaml:1\n")
