"""Two agents on machines of their own deploy the bookshop, while the link is cut and the server is killed.

    pytest tests/end_to_end/test_two_agents.py --cut-lines=3000        a cut of half a minute in each way, as in `make chaos`

One agent listens, the other calls through a proxy that wants a password and is the only way out of its net. On both a
step prints a line each 10 ms, to its log and to a file beside it; the cut lasts until so many more lines are in the file.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import AttemptState, TaskState
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet
from tests.chaos.processes import until
from tests.chaos.space import Fields, Space, space_in
from tests.chaos.workloads import declare_bookshop
from tests.end_to_end.namespaces import INNER, OUTER, Network, network, obstacle

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

SITE_PORT, PROXY_PORT = 8000, 3128
LOGIN = "agent:pass-word"
LINE_SECONDS_MAX = 0.05  # what a line that is due each 10 ms may take on a busy machine
FOLLOWED = ("Follow web", "Follow db")
PROXY_SETTINGS = """
Listen {address}
Port {port}
ConnectPort 10943
BasicAuth {user} {password}
Timeout 600
MaxClients 20
"""
FOLLOW = """
import os, time

own = open(os.environ["COPY"], "a", buffering=1)
print("NAME", file=open(os.environ["WITNESS"], "a"))
number = 0
while not os.path.exists(os.environ["GATE"]):
    number += 1
    for stream in (own, None):
        print("line", number, file=stream, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Fleet, Network]]:
    """Give a server that follows a bookshop and two agents with their sessions."""
    if reason := obstacle():
        pytest.skip(reason)
    root, site = tmp_path / "shop", f"http://{OUTER}.2:{SITE_PORT}/"
    environment = {"BOOKSHOP_ROOT": str(root), "BOOKSHOP_URL": site, "BOOKSHOP_BACKUP_KEY": "open-sesame"}
    with network() as net, space_in(tmp_path, **environment) as space:
        declare_bookshop(space)
        (root / "site").mkdir(parents=True)
        proxy = space.run_beside(*net.machine("proxy").lead, "tinyproxy", "-d", "-c", str(proxy_settings(tmp_path)))
        until(lambda: "Accepting connections" in proxy.text(), "the proxy")
        server = (sys.executable, "-m", "http.server", str(SITE_PORT), "--directory", str(root / "site"))
        space.run_beside(*net.machine("web").lead, *server)
        deployment = space.folder / "deployment.yaml"
        wished = deployment.read_text()
        deployment.unlink()  # nothing is wished before there are workers
        fleet = Fleet(space, net.machine("server"))
        place_on_workers(space)
        fleet.prepare('[secrets]\nenvironment = ["BOOKSHOP_*"]')
        fleet.serve()
        enrol(fleet, net)
        deployment.write_text(wished)
        for agent in fleet.agents.values():
            agent.start()
        yield fleet, net


def proxy_settings(folder: Path) -> Path:
    user, _, password = LOGIN.partition(":")
    file = folder / "tinyproxy.conf"
    file.write_text(PROXY_SETTINGS.format(address=f"{INNER}.3", port=PROXY_PORT, user=user, password=password))
    return file


def enrol(fleet: Fleet, net: Network) -> None:
    """Enrol both agents and commit what that prints."""
    web, db = net.machine("web"), net.machine("db", INNER)
    proxy = f"http://{INNER}.3:{PROXY_PORT}"
    for name, document in (
        ("shop-web-01", fleet.enrol("shop-web-01", "web", "--listen", f"{web.address}:10933", machine=web)),
        ("shop-db-01", fleet.enrol("shop-db-01", "database", "--proxy", proxy, machine=db, credentials=LOGIN)),
    ):
        fleet.declare(name, document)
    fleet.commit()


def place_on_workers(space: Space) -> None:
    """Run each step of the bookshop in one of its two pools, and two steps more that are to be followed."""
    infrastructure = space.folder / "infrastructure.yaml"
    kept = [text for text in infrastructure.read_text().split("---\n") if "kind: WorkerSet" not in text]
    infrastructure.write_text("---\n".join(kept))
    for name, pool in (("at-web", "web"), ("at-db", "database")):
        place = {"runOn": "workerPool", "pool": pool}
        space.write(name, {"kind": "ExecutionLocation", "metadata": {"name": name}, "spec": place})
    project = space.folder / "project.yaml"
    head, *steps = project.read_text().split("    - name: ")
    placed = [step.replace("shop-server", "at-web" if "site" in step.partition("\n")[0] else "at-db") for step in steps]
    followed = [json.dumps(follow(space, name)).join(("    - ", "\n\n")) for name in FOLLOWED]
    at = next(index for index, step in enumerate(placed) if step.startswith("Check"))
    texts = [f"    - name: {step}" for step in placed]
    project.write_text(head + "".join([*texts[:at], *followed, *texts[at:]]))


def follow(space: Space, name: str) -> Fields:
    """Declare a step that prints until its gate opens; the second runs beside the first."""
    files = {"COPY": str(copy_of(space, name)), "GATE": str(space.home / "gates" / "enough")}
    return {
        "name": name,
        "location": f"at-{name.rpartition(' ')[2]}",
        "start": "afterPrevious" if name == FOLLOWED[0] else "withPrevious",
        "script": {"syntax": "python", "body": FOLLOW.replace("NAME", name)},
        "env": {**files, "WITNESS": str(space.home / "witness")},
    }


def copy_of(space: Space, name: str) -> Path:
    return space.home / f"{name.replace(' ', '-')}.txt"


def until_lines(space: Space, more: int) -> None:
    """Wait until each of the two scripts has written so many more lines beside its log."""
    copies = [copy_of(space, name) for name in FOLLOWED]
    wanted = {copy: lines(copy) + more for copy in copies}
    patience = FOLLOWS_WITHIN + more * LINE_SECONDS_MAX
    until(lambda: all(lines(copy) >= least for copy, least in wanted.items()), f"{more} lines", patience)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_cut_link_and_a_killed_server_cost_a_deployment_time_only(
    installation: tuple[Fleet, Network], how: str, cut_lines: int
) -> None:
    fleet, net = installation
    space = fleet.space
    fleet.until_connected()
    fleet.commit()
    until_lines(space, 100)

    with net.cut(how):
        until_lines(space, cut_lines // 2)
        fleet.kill_server()
        until_lines(space, 10)
        fleet.serve()
        until_lines(space, cut_lines // 2)
        assert space.reconcile("why", "task/1").count("its scripts go on and are heard of when it is back") == 2
    until_received(fleet)
    fleet.kill_server()
    fleet.serve()
    until_received(fleet)
    space.open("enough")
    until(lambda: space.task().state.ended, "the end of the deployment", FOLLOWS_WITHIN)

    assert space.task().state is TaskState.SUCCEEDED, space.task().reason
    assert space.starts() == Counter(["backup", "migrate", "publish", "check", *FOLLOWED])
    assert {one.state for one in space.attempts()} == {AttemptState.ENDED}
    for name in FOLLOWED:
        assert log_of(space, name) == copy_of(space, name).read_bytes(), f"the log of {name} is its script's own copy"
    assert "4 books, release 1.0.0" in (space.home / "shop" / "site" / "index.html").read_text()
    until(lambda: not any(agent.tickets() for agent in fleet.agents.values()), "the end of every ticket")
    for name in fleet.agents:
        assert "it is healthy" in space.reconcile("why", f"Worker/{name}")
        told = space.reconcile("events", "--subject", f"Worker/{name}")
        assert told.count(" meet ") >= 3, "it was there before the cut, and came back after each kill of the server"


def until_received(fleet: Fleet) -> None:
    """Wait until the server has got more of both logs than it has now."""
    space = fleet.space
    held = {name: len(log_of(space, name)) for name in FOLLOWED}
    until(lambda: all(len(log_of(space, name)) > length for name, length in held.items()), "news", FOLLOWS_WITHIN)


def log_of(space: Space, name: str) -> bytes:
    """Return what the server has of the log of a step."""
    index = space.runs()[name].index
    return b"".join(space.log(one.ticket) for one in space.attempts() if one.step == index)
