"""Where a commit stands whose deployment runs while another one, of an earlier commit, has failed; over a real engine."""

import asyncio
from pathlib import Path

from reconciler.server.answers.commit_names import Standing, repositories, standing
from reconciler.server.answers.waiting import Stand
from reconciler.server.orders.orders import Suspend
from reconciler.server.sources.policy import Policy
from reconciler.server.state.times import stamp
from tests.server.following import DEPLOYMENT, PATIENCE, PROJECT, Followed, followed

OTHER = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: other}}
spec:
  process:
    - name: Work
      location: {{runOn: server}}
      script: {{syntax: sh, body: '{body}'}}
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: other-live}}
spec: {{project: other, environment: live, release: "1"}}
"""


async def where(here: Followed, commit: str) -> Standing:
    roots = repositories(here.place)
    return await here.controller.engine.store.read(lambda tx: standing(tx, commit, roots, engine_runs=True))


async def until(here: Followed, commit: str, *stands: Stand) -> Standing:
    """Let the controller turn until a commit stands so."""
    async with asyncio.timeout(PATIENCE):
        while (found := await where(here, commit)).stand not in stands:
            await here.controller.turn()
            await asyncio.sleep(0.05)
    return found


async def test_an_older_failure_ends_no_waiting_while_the_commits_own_deployment_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with followed(tmp_path, Policy(new_state=True)) as here:
        first = here.repository.shop(PROJECT.format(body="exit 3"))
        await here.look()
        await until(here, first, Stand.FAILED)
        here.repository.write("other.yaml", OTHER.format(body=f"until test -e {gate}; do sleep 0.05; done"))
        second = here.repository.commit("Another")
        await here.look()
        assert await here.reason() == "DeploymentFailed"
        assert await where(here, second) == Standing(second, Stand.UNDER_WAY, "1 task of it under way")
        gate.touch()
        found = await until(here, second, Stand.FAILED, Stand.DONE)
        failed = await here.task(1)
        assert failed.finished_at is not None
        sentence = (
            f"Deployment/shop-live failed at release 1 (task 1: {failed.reason}); repeat it with: reconcile retry 1"
        )
        assert found.stand is Stand.FAILED
        assert found.message == f"from before this commit, since {stamp(failed.finished_at)}: {sentence}"
        assert (await where(here, first)).message == sentence, "and it is the first commit's own"


async def test_what_was_carried_out_before_a_suspension_is_waited_for(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with followed(tmp_path, Policy(new_state=True)) as here:
        commit = here.repository.shop(PROJECT.format(body=f"until test -e {gate}; do sleep 0.05; done"))
        await here.look()
        await here.order(Suspend("ann@desk", "a freeze", 3_600.0))
        await here.look()
        assert await here.reason() == "Suspended"
        assert await where(here, commit) == Standing(commit, Stand.UNDER_WAY, "1 task of it under way")
        here.repository.write("deployment.yaml", DEPLOYMENT.format(release="2"))
        later = here.repository.commit("Later")
        await here.look()
        held = await where(here, later)
        assert held.stand is Stand.SUSPENDED
        assert held.message.startswith("suspended by ann@desk until 2")
        assert held.message.endswith("Z: a freeze; end it with: reconcile resume")
        gate.touch()
        found = await until(here, commit, Stand.DONE, Stand.FAILED)
        assert found == Standing(commit, Stand.DONE, f"everything is as {commit[:12]} declares it")
