"""What was pinned and is another one now is told, and what is told to do after a failure helps."""

import asyncio
from pathlib import Path

from reconciler.cli.status import record
from reconciler.execute.secrets import SecretRules
from reconciler.model.following import ConditionType
from reconciler.server.answers.overview import overview
from reconciler.server.answers.reasons import reasons
from reconciler.server.orders.decisions import Decision
from reconciler.server.sources.policy import Policy
from tests.server.following import DEPLOYMENT, PATIENCE, PROJECT, Followed, followed

WITH_SECRET = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  variables:
    - {{name: Password, type: sensitive, value: {{source: {source}, key: shop/db}}}}
  process:
    - name: Work
      location: {{runOn: server}}
      script: {{syntax: sh, body: 'test "$PASSWORD" = shop/db'}}
      env: {{PASSWORD: "${{{{ vars.Password }}}}"}}
"""
WITH_VARIABLE = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  variables: [{{name: Replicas, value: "{replicas}"}}]
  process:
    - name: Work
      location: {{runOn: server}}
      script: {{syntax: sh, body: '{body}'}}
      env: {{REPLICAS: "${{{{ vars.Replicas }}}}"}}
"""
FAILED = (
    'Deployment/shop-live failed at release 1 (task {task}: "Work" failed: the value of Password cannot be had from '
    "the source sealled, key shop/db: no source of this name is configured); "
)
MOVED = (
    "its variables have changed since, and a retry repeats what the task pinned; "
    "give Deployment/shop-live another `rerun`, or another release"
)


async def settled(here: Followed) -> None:
    """Look until nothing is under way any more."""
    await here.look()
    async with asyncio.timeout(PATIENCE):
        while (await here.condition(ConditionType.RECONCILING)).status:
            await here.controller.turn()
            await asyncio.sleep(0.02)


async def stalled(here: Followed) -> str:
    """Return why the space is stalled."""
    return (await here.condition(ConditionType.STALLED)).message


async def why(here: Followed, address: str) -> list[str]:
    return await here.controller.engine.store.read(lambda tx: list(reasons(tx, address)))


async def row(here: Followed) -> str:
    """Return the condition of the only slot in `status`, which its JSON agrees with."""
    seen = await here.controller.engine.store.read(lambda tx: overview(tx, engine_runs=True))
    (found,), (told,) = seen.slots, record(seen)["deployments"]
    moved = {name for name in ("process", "variables") if told[f"{name}_changed"]}
    assert moved == {name for name in ("process", "variables") if name in found.condition}
    return found.condition


async def test_after_a_mistake_in_git_is_mended_what_is_told_runs_it(tmp_path: Path) -> None:
    rules = SecretRules(sources={"sealed": ("/bin/echo",)})
    async with followed(tmp_path, Policy(new_state=True), secrets=rules) as here:
        here.repository.shop(WITH_SECRET.format(source="sealled"))
        await settled(here)
        assert await stalled(here) == FAILED.format(task=1) + "repeat it with: reconcile retry 1"
        assert "it is not repeated by itself; repeat it with: reconcile retry 1" in await why(here, "task/1")

        here.repository.shop(WITH_SECRET.format(source="sealed"))
        await settled(here)
        assert await stalled(here) == FAILED.format(task=1) + MOVED
        assert await row(here) == "failed, variables changed since"
        for address in ("task/1", "Deployment/shop-live"):
            assert f"it is not repeated by itself; {MOVED}" in await why(here, address)

        await here.order(Decision("retry", "1", "ann", ""))
        await settled(here)
        assert await stalled(here) == FAILED.format(task=2) + MOVED
        assert not any("not repeated" in sentence for sentence in await why(here, "task/1"))

        here.repository.write("deployment.yaml", DEPLOYMENT.format(release="1").replace('"1"', '"1", rerun: again'))
        here.repository.commit()
        await settled(here)
        assert await here.reason() == "Applied"
        assert await row(here) == "succeeded"


async def test_what_runs_with_other_variables_than_are_declared_is_told(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(WITH_VARIABLE.format(replicas=2, body="true"))
        await settled(here)
        assert await row(here) == "succeeded"
        here.repository.shop(WITH_VARIABLE.format(replicas=7, body="true"))
        await settled(here)
        assert await row(here) == "succeeded, variables changed since"
        here.repository.shop(WITH_VARIABLE.format(replicas=7, body="exit 0"))
        await settled(here)
        assert await row(here) == "succeeded, process and variables changed since"
        here.repository.shop(WITH_VARIABLE.format(replicas=2, body="exit 0"))
        await settled(here)
        assert await row(here) == "succeeded, process changed since"
        here.repository.shop(WITH_VARIABLE.format(replicas=7, body="exit 0"), "2")
        await settled(here)
        assert await row(here) == "succeeded"


async def test_of_a_failure_of_the_moment_a_retry_is_named(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(PROJECT.format(body=f"test -e {tmp_path}/there"))
        await settled(here)
        assert (await stalled(here)).endswith("; repeat it with: reconcile retry 1")
        (tmp_path / "there").touch()
        await here.order(Decision("retry", "1", "ann", ""))
        await settled(here)
        assert await here.reason() == "Applied"
