"""A worker that Git renames while it works: what waits for it under its new name runs there when it is done."""

from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Space, gate, space_in, step

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]

POOL = "far"
THERE = {"runOn": "workerPool", "pool": POOL}
BUSY = "no worker of the pool far has room for it: far-2 still runs hold of task 1 under its former name far-1"


def working(space: Space, *listening: str) -> Fleet:
    """Give a server with one connected agent, which runs a step that waits for the test."""
    fleet = Fleet(space, port=free_port())
    space.write("pool", *({"kind": "WorkerPool", "metadata": {"name": name}, "spec": {}} for name in (POOL, "other")))
    for project, process in (("shop", step("Hold", gate(), location=THERE)), ("till", step("Next", location=THERE))):
        space.declare(process, project=project)
        space.remove(f"{project}-deployment")
    fleet.prepare()
    fleet.serve()
    fleet.declare("far-1", fleet.enrol("far-1", POOL, *listening))
    fleet.commit()
    fleet.agents["far-1"].start()
    fleet.until_connected()
    space.deploy("1")
    fleet.commit()
    space.until_started("Hold")
    return fleet


@pytest.mark.parametrize("way", ["polling", "listening"])
def test_what_waits_for_the_new_name_runs_there_when_the_machine_is_done(tmp_path: Path, way: str) -> None:
    with space_in(tmp_path) as space:
        fleet = working(space, *(("--listen", f"127.0.0.1:{free_port()}") if way == "listening" else ()))
        document = (space.folder / "far-1.yaml").read_text()
        assert "\n  name: far-1\n" in document
        fleet.declare("far-1", document.replace("\n  name: far-1\n", "\n  name: far-2\n  renamedFrom: far-1\n"))
        space.deploy("1", project="till")
        fleet.commit()
        until(
            lambda: BUSY in space.reconcile("why", "task/2") if len(space.tasks()) > 1 else False,
            "the wait",
            FOLLOWS_WITHIN,
        )
        space.open()
        until(lambda: space.task(2).state is TaskState.SUCCEEDED, "the other deployment", FOLLOWS_WITHIN)
        assert [attempt.worker for attempt in (*space.attempts(1), *space.attempts(2))] == ["far-1", "far-2"]
        assert space.starts() == {"Hold": 1, "Next": 1}
