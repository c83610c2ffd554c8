"""What a server's configuration does not let it have is told when it plans, and when it carries out what will fail of it."""

from pathlib import Path

import pytest

from reconciler.declare.cache import ParseCache
from reconciler.execute.secrets import SecretRules
from reconciler.plan.planner import Options, plan
from reconciler.plan.text import render
from reconciler.server.planning.planning import plan_space
from reconciler.server.planning.secret_doubts import doubts
from reconciler.server.sources.policy import Policy
from tests.scenarios.applying import EMPTY
from tests.scenarios.declaring import declare
from tests.server.following import DEPLOYMENT, ENVIRONMENT, followed

RULES = SecretRules(("SHOP_*",), (Path("/etc/reconcile/secrets"),), {"vault": ("/bin/echo",)})
PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  variables:
    - {{name: Password, type: sensitive, value: {source}}}
    - {{name: Unused, type: sensitive, value: {{source: nobody, key: asks}}}}
  process:
    - name: Work
      location: {{runOn: server}}
      {action}
    - name: Left out
      location: {{runOn: server}}
      environments: {{except: [live]}}
      {action}
"""
TEMPLATE = """\
apiVersion: reconciler/v1
kind: StepTemplate
metadata: {name: work}
spec:
  parameters: [{name: password, type: sensitive}]
  action:
    script: {syntax: sh, body: work}
    env: {PASSWORD: "${{ params.password }}"}
"""
ACTION = "script: {syntax: sh, body: work}\n      env: {PASSWORD: '${{ vars.Password }}'}"
FROM_TEMPLATE = "template: {name: work, with: {password: '${{ vars.Password }}'}}"
BEGINNING = 'Deployment/shop-live: the step "Work" will fail: the value of Password cannot be had from '


def doubted(source: str, rules: SecretRules = RULES, action: str = ACTION) -> list[str]:
    desired = declare(
        {
            "environment.yaml": ENVIRONMENT,
            "project.yaml": PROJECT.format(source=source, action=action),
            "deployment.yaml": DEPLOYMENT.format(release="1"),
            "template.yaml": TEMPLATE,
        }
    )
    return list(doubts(plan(desired, EMPTY).runs, desired, rules))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{source: sealled, key: db}", "the source sealled, key db: no source of this name is configured"),
        ("{env: NOT_THERE}", "the environment variable NOT_THERE: the server's configuration does not allow it"),
        ("{command: [pass, db]}", "the command pass: a server runs no program that a commit names"),
    ],
)
@pytest.mark.parametrize("action", [ACTION, FROM_TEMPLATE])
def test_what_the_configuration_forbids_is_known_beforehand(source: str, problem: str, action: str) -> None:
    assert doubted(source, action=action) == [BEGINNING + problem]


@pytest.mark.parametrize("source", ["{source: vault, key: db}", "{env: SHOP_PASSWORD}", "{file: db}", "{age: text}"])
def test_what_it_allows_is_not_looked_at(source: str) -> None:
    assert doubted(source) == []


def test_a_file_is_nowhere_where_no_directory_is_allowed() -> None:
    assert doubted("{file: db}", SecretRules()) == [
        f"{BEGINNING}the file db: there is no such file in the directories that the server's configuration allows"
    ]


async def test_a_server_tells_it_in_its_plan_and_in_its_log(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True), secrets=RULES) as here:
        here.repository.shop(PROJECT.format(source="{source: sealled, key: db}", action=ACTION))
        sentence = f"{BEGINNING}the source sealled, key db: no source of this name is configured"
        source = here.controller.source
        live = await here.live()
        loaded = source.load(source.head(), live, ParseCache.open(here.place.cache))
        planned = plan_space(loaded, live, Options(followed=True), check=source.check, secret_rules=RULES)
        assert f"Live: {sentence}\n" in render(planned.plan)
        await here.look()
        assert "secret cannot be had" in here.said.getvalue()
        assert sentence in here.said.getvalue().replace('\\"', '"')
