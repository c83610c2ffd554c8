"""A worker that comes back with an empty disk: what it may have started is lost, and never offered to it again."""

from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from tests.chaos.fleet import Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.rounds import Round, install
from tests.chaos.space import space_in
from tests.chaos.weather import Sky, weather

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("server_dies", [False, True], ids=["the server lives", "the server dies too"])
def test_an_attempt_that_began_on_a_lost_disk_is_not_begun_on_the_new_one(
    server_dies: bool, tmp_path: Path, package: dict[str, str]
) -> None:
    with space_in(tmp_path, **package) as space, weather() as skies:
        fleet = Fleet(space, port=free_port())
        install(fleet, skies)
        link, caller = skies.proxies[0], fleet.agents["caller"]
        skies.do(lambda: link.change(Sky(holds=frozenset({"up"}))))  # nobody hears that it has begun
        this = Round(fleet, "1", ["disk lost"])
        space.deploy("1")
        fleet.commit()
        until(lambda: this.starts()["prepare"], "the start of the first step")

        if server_dies:
            fleet.kill_server()
        caller.crash(loses_disk=True)
        skies.do(link.cut)
        skies.clear()
        if server_dies:
            fleet.serve()
        caller.start()

        assert this.judge() is TaskState.FAILED
        assert space.states()["prepare"] == "lost"
