"""What a task would pin now is told from what it has pinned, and what helps after a failure follows from that."""

from dataclasses import replace

import pytest

from reconciler.model.live import Slot, Task, TaskId, TaskState
from reconciler.plan.planner import Options, plan
from reconciler.plan.present import Present
from tests.scenarios.applying import EMPTY, applied, settled
from tests.scenarios.declaring import declare

LIVE, TEST, ACME = Slot("shop", "live"), Slot("shop", "test"), Slot("shop", "live", "acme")
SHOP = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {name: live}
spec: {}
---
apiVersion: reconciler/v1
kind: Environment
metadata: {name: test}
spec: {}
---
apiVersion: reconciler/v1
kind: VariableSet
metadata: {name: shared}
spec: {variables: [{name: Region, value: eu}, {name: Size, value: small}]}
---
apiVersion: reconciler/v1
kind: Tenant
metadata: {name: acme}
spec: {tags: [], variables: [{name: Colour, value: red}]}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  variableSets: [shared]
  variables:
    - name: Replicas
      values:
        - {value: "1"}
        - {value: "2", scope: {environments: [live]}}
        - {value: "9", scope: {steps: [ship]}}
    - {name: Size, value: large}
    - {name: Password, type: sensitive, value: {source: vault, key: shop/db}}
  process:
    - name: Ship
      script: {syntax: sh, body: ship}
"""
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: shop-live}
spec: {project: shop, environment: live, release: "1"}
"""


def present(text: str) -> Present:
    return Present(declare({"shop.yaml": text}).objects)


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ('{value: "2", scope', '{value: "7", scope', {LIVE, ACME}),
        ('{value: "1"}', '{value: "3"}', {TEST}),
        ('{value: "9", scope', '{value: "8", scope', {LIVE, TEST, ACME}),
        ("{name: Region, value: eu}", "{name: Region, value: us}", {LIVE, TEST, ACME}),
        ("{name: Size, value: small}", "{name: Size, value: tiny}", set()),
        ("{name: Colour, value: red}", "{name: Colour, value: blue}", {ACME}),
        ("{source: vault,", "{source: vualt,", {LIVE, TEST, ACME}),
        ("  variableSets: [shared]\n", "", {LIVE, TEST, ACME}),
        ("body: ship", "body: ship it", set()),
        ("{name: Size, value: large}", "{name: Size, value: large, description: How big}", set()),
    ],
)
def test_the_variables_of_a_slot_have_moved_where_another_value_can_hold_there(
    old: str, new: str, moved: set[Slot]
) -> None:
    assert SHOP.count(old) == 1
    before, after = present(SHOP), present(SHOP.replace(old, new))
    assert {slot for slot in (LIVE, TEST, ACME) if before.variables(slot) != after.variables(slot)} == moved


def test_of_what_was_not_recorded_nothing_has_moved() -> None:
    task = Task(TaskId(1), "shop-live", LIVE, "1", "d", "p", "r", TaskState.FAILED)
    assert present(SHOP).moved(task) == ()
    assert present(SHOP).moved(replace(task, process="p", variables="v")) == ("process", "variables")
    assert present(SHOP).moved(replace(task, process="p", slot=Slot("gone", "live"))) == ("process",)


FAILED = 'Deployment/shop-live failed at release 1 (task 1: "Ship" failed); '
MOVED = [
    ("body: ship", "body: ship", "repeat it with: reconcile retry 1"),
    (
        "body: ship",
        "body: ship it",
        "its process has changed since, and a retry repeats what the task pinned; give Deployment/shop-live another `rerun`, or another release",
    ),
    (
        "{source: vault,",
        "{source: vualt,",
        "its variables have changed since, and a retry repeats what the task pinned; give Deployment/shop-live another `rerun`, or another release",
    ),
    (
        "{source: vault, key: shop/db}}\n  process:\n    - name: Ship\n      script: {syntax: sh, body: ship}",
        "{source: vault, key: shop/tb}}\n  process:\n    - name: Ship\n      script: {syntax: sh, body: other}",
        "its process and variables have changed since, and a retry repeats what the task pinned; give Deployment/shop-live another `rerun`, or another release",
    ),
]


@pytest.mark.parametrize(("old", "new", "remedy"), MOVED)
def test_a_plan_of_a_server_says_what_helps_after_a_failure(old: str, new: str, remedy: str) -> None:
    files = {"shop.yaml": SHOP, "deployment.yaml": DEPLOYMENT}
    first = declare(files)
    live = applied(plan(first, EMPTY), first, EMPTY, adopt=False)
    live = settled(live, {TaskId(1): (TaskState.FAILED, '"Ship" failed')})
    second = declare({name: text.replace(old, new) for name, text in files.items()})
    assert plan(second, live, Options(followed=True)).failed == (f"{FAILED}{remedy}",)
    assert plan(second, live).failed == (f"{FAILED}repeat it with: reconcile apply --retry-failed",)


@pytest.mark.parametrize("named", ["script: {syntax: sh, file: ship.sh}", "template: {name: ship}"])
def test_files_of_scripts_may_have_been_mended_where_no_digest_tells(named: str) -> None:
    template = (
        "---\napiVersion: reconciler/v1\nkind: StepTemplate\nmetadata: {name: ship}\n"
        "spec: {action: {script: {syntax: sh, file: ship.sh}}}\n"
    )
    files = {
        "shop.yaml": SHOP.replace("script: {syntax: sh, body: ship}", named) + template,
        "deployment.yaml": DEPLOYMENT,
        "ship.sh": "# ships\n",
    }
    declared = declare(files)
    live = applied(plan(declared, EMPTY), declared, EMPTY, adopt=False)
    live = settled(live, {TaskId(1): (TaskState.FAILED, '"Ship" failed')})
    assert plan(declared, live, Options(followed=True)).failed == (
        f"{FAILED}repeat it with: reconcile retry 1; where a script file was mended since, give Deployment/shop-live another `rerun`, or another release",
    )
