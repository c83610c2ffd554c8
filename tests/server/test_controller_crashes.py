"""A controller that dies before or after any one of its writes: the next one ends as if nothing had happened."""

import asyncio
import itertools
import shutil
from pathlib import Path

import pytest

from reconciler.model.live import TaskState
from reconciler.server.sources.policy import Policy
from reconciler.store import objects, tasks
from reconciler.store.writer import Store
from tests.cli.workplace import reconcile
from tests.server.following import DEPLOYMENT, ENVIRONMENT, PATIENCE, PROJECT, Followed, Repository, followed

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]  # some fifty engines

RUNS_WHAT_NEVER_RAN = Policy(new_state=True)


class Killed(BaseException):
    """Nothing of this controller runs any more."""


class Fate:
    """Kills the task that made it at its write number `at`, before that is made or right after it was committed."""

    def __init__(self, at: int, *, after: bool, patch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.dead = False
        owner, real = asyncio.current_task(), Store.write

        async def write(store: Store, work):
            if asyncio.current_task() is not owner:
                return await real(store, work)
            if self.dead:
                raise Killed
            self.writes += 1
            self.dead = self.writes == at
            if self.dead and not after:
                raise Killed
            found = await real(store, work)
            if self.dead:
                raise Killed
            return found

        patch.setattr(Store, "write", write)


def change(repository: Repository) -> str:
    """Commit what adds, changes, removes and deploys."""
    for name in ("a", "b", "c"):
        (repository.root / f"pool-{name}.yaml").unlink(missing_ok=True)
    repository.pools("b", "d", "e", spec="{maxRemovals: 100%}")
    repository.write("env.yaml", ENVIRONMENT)
    repository.write("project.yaml", PROJECT.format(body="true"))
    repository.write("deployment.yaml", DEPLOYMENT.format(release="1"))
    return repository.commit("Deploy")


async def settled(here: Followed) -> None:
    async with asyncio.timeout(PATIENCE):
        while await here.reason() != "Applied":
            await here.controller.turn()
            await asyncio.sleep(0.02)


async def begun(folder: Path) -> None:
    """Make a state with something in it, and the commit that is to be carried out."""
    async with followed(folder, RUNS_WHAT_NEVER_RAN) as here:
        here.repository.pools("a", "b", "c", spec="{maxRemovals: 100%}")
        await here.look()
        change(here.repository)


async def died(folder: Path, at: int, *, after: bool) -> bool:
    """Let one controller live until its fate; False where it has done everything before that."""
    with pytest.MonkeyPatch.context() as patch:
        async with followed(folder, RUNS_WHAT_NEVER_RAN) as here:
            fate = Fate(at, after=after, patch=patch)
            try:
                await here.look()
            except Killed:
                assert fate.dead
            patch.undo()
        return fate.dead


async def test_a_death_at_any_write_changes_nothing_in_the_end(tmp_path: Path) -> None:
    begin = tmp_path / "begin"
    begin.mkdir()
    await begun(begin)
    deaths = 0
    for at in itertools.count(1):
        for after in (False, True):
            folder = tmp_path / f"{at}-{after}"
            shutil.copytree(begin, folder)
            if not await died(folder, at, after=after):
                assert deaths > 10
                return
            deaths += 1
            async with followed(folder, RUNS_WHAT_NEVER_RAN) as here:
                await here.look()
                await settled(here)
                live = await here.controller.engine.store.read(objects.live_state)
                ran = await here.controller.engine.store.read(tasks.tasks)
                assert await here.pools() == {"b", "d", "e"}
                assert live.revision == here.controller.revision == here.repository.git("rev-parse", "HEAD")
                assert [task.state for task in ran] == [TaskState.SUCCEEDED], (at, after)
            reconcile("audit", "verify", "-C", folder, "--data", str(folder / "data")).expect(0)
            shutil.rmtree(folder)
