"""A server that is killed at random moments while it carries out commits of fifty objects ends as if it never was.

pytest tests/chaos/test_controller_kills.py --kills=200        as in `make chaos`
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.processes import until
from tests.end_to_end.git_hosts import Bare, scrubbed

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(0)]

RECONCILE = str(Path(sys.executable).with_name("reconcile"))
OBJECTS = 50
KILLS = 6
"""In `make test`."""
ALIVE_SECONDS = (0.2, 2.5)
"""How long a server lives at least and at most: it needs about one second to come up, and less for an apply."""
SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {maxRemovals: 100%}\n"
POOL = (
    "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {{name: pool-{number}}}\nspec: {{description: '{text}'}}\n"
)


def configured(folder: Path, bare: Bare) -> list[str]:
    """Write the configuration and return the command of the server."""
    source = f'[[source]]\nspace = "shop"\nurl = "{bare.path}"\npoll = "200ms"\n'
    (folder / "server.toml").write_text(source)
    return [RECONCILE, "serve", "--data", str(folder / "data"), "--config", str(folder / "server.toml")]


def declare(bare: Bare, chance: random.Random) -> tuple[str, set[str]]:
    """Commit fifty objects, some new, some changed, some gone; return the commit and the names of the pools."""
    for file in bare.work.glob("pool-*.yaml"):
        file.unlink()
    numbers = chance.sample(range(2 * OBJECTS), OBJECTS)
    files = {f"pool-{number}": POOL.format(number=number, text=chance.randint(0, 3)) for number in numbers}
    return bare.push("Change", reconcile=SPACE, **files), {f"pool-{number}" for number in numbers}


def live(data: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{data}/shop/state.db?mode=ro", uri=True)) as state:
        return {name for (name,) in state.execute("SELECT name FROM objects WHERE kind = 'WorkerPool'")}


def is_applied(folder: Path, commit: str) -> bool:
    done = subprocess.run(
        [RECONCILE, "status", "--json", "--data", str(folder / "data" / "shop"), "-C", str(folder)],
        capture_output=True, text=True, check=False, env=scrubbed(),
    )  # fmt: skip
    if done.returncode:
        return False
    conditions = {found["type"]: found for found in json.loads(done.stdout)["conditions"]}
    return bool(conditions) and conditions["Ready"]["status"] and conditions["Ready"]["revision"] == commit


@pytest.mark.parametrize("first", range(2))
def test_kills_change_nothing_in_the_end(tmp_path: Path, first: int, request: pytest.FixtureRequest) -> None:
    kills = (request.config.getoption("--kills", None) or KILLS) // 2
    chance = random.Random(first)
    bare = Bare.new(tmp_path, "shop")
    command = configured(tmp_path, bare)
    commit, wanted = declare(bare, chance)
    with (tmp_path / "server.log").open("ab") as log:
        for _ in range(kills):
            server = subprocess.Popen(command, stdout=log, stderr=log, env=scrubbed(), cwd=tmp_path)
            end = time.monotonic() + chance.uniform(*ALIVE_SECONDS)
            while time.monotonic() < end:
                commit, wanted = declare(bare, chance)
                time.sleep(max(0.0, min(0.3, end - time.monotonic())))
            server.kill()
            server.wait()
        server = subprocess.Popen(command, stdout=log, stderr=log, env=scrubbed(), cwd=tmp_path)
        until(lambda: is_applied(tmp_path, commit), "the last commit", patience=120.0)
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(60) == 0, (tmp_path / "server.log").read_text()[-3000:]
    assert live(tmp_path / "data") == wanted
    verified = subprocess.run(
        [RECONCILE, "audit", "verify", "--data", str(tmp_path / "data" / "shop"), "-C", str(tmp_path)],
        capture_output=True, text=True, check=False, env=scrubbed(),
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
