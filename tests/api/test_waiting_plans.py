"""A plan that waits for a person is shown as the controller has made it, and no longer than it waits."""

from pathlib import Path

import pytest

from reconciler.model.following import plan_name
from reconciler.server.sources.sources import WorkingTree
from tests.api.premises import Premises, premises, until
from tests.cli.workplace import POOL, Workplace

MANUAL = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {approval: manual}\n"

ANEW = "  the server makes it anew; `reconcile status` names the plan that waits then\n"


def manual(work: Workplace) -> None:
    work.write("reconcile.yaml", MANUAL)


def waiting(shop: Premises, token: str) -> list[str]:
    return [plan_name(plan["digest"]) for plan in shop.get("/plans", token).expect(200)["items"]]


def test_a_plan_that_waits_is_the_one_that_is_made_of_its_commit(tmp_path: Path) -> None:
    with premises(tmp_path, declare=manual) as shop:
        viewer = shop.token("viewer")
        (name,) = waiting(shop, viewer)
        for form in ("json", "text", "markdown"):
            shown = shop.get(f"/plans/{name}/changes?form={form}", viewer).expect(200)
            assert shown == shop.post("/plan", viewer, {"form": form}).expect(200)
            assert (shown["form"], shown["empty"]) == (form, False)
        assert shop.get("/plans/plan-0123456789ab/changes", viewer).expect(404) == {
            "error": "no plan plan-0123456789ab waits",
            "hint": "see: reconcile status, or GET …/plans",
            "code": 1,
        }
        shop.post(f"/plans/{name}/approve", shop.token("approver"), {}).expect(200)
        until(lambda: not waiting(shop, viewer), "the end of the plan")
        until(lambda: shop.get(f"/plans/{name}/changes", viewer).status == 404, "the end of its sight")


def four_pools(work: Workplace) -> None:
    work.write("pools.yaml", "---\n".join(POOL % name for name in ("a", "b", "c", "d")))


def remove_three(shop: Premises) -> tuple[str, str]:
    """Commit what removes more than the budget allows; returns the plan's name and the commit."""
    shop.work.write("pools.yaml", POOL % "a")
    commit = shop.work.commit()
    viewer = shop.token("viewer")
    shop.post("/look", shop.token("deployer")).expect(200)
    until(lambda: waiting(shop, viewer), "the plan")
    return waiting(shop, viewer)[0], commit


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_a_plan_that_waits_is_shown_alike_at_the_server_and_beside_the_state(tmp_path: Path, form: str) -> None:
    with premises(tmp_path, declare=four_pools) as shop:
        name, commit = remove_three(shop)
        shop.work.write("pools.yaml", "kind: [")  # the working tree does not matter
        viewer = shop.token("viewer")
        shown = shop.at_server(viewer, "plan", name, "--format", form, "--detailed-exitcode")
        beside = shop.work.run("plan", name, "--format", form, "--detailed-exitcode")
        assert shown == (beside.code, beside.out, beside.err)
        assert (beside.code, commit[:7] in beside.out) == (2, True)
        assert [f"WorkerPool/{pool}" in beside.out for pool in "abcd"] == [False, True, True, True]
        assert "maxRemovals" not in beside.out, "that is what the person decides on"
        assert beside.err.endswith(f"\nDecide with: reconcile approve {name}, or: reconcile reject {name}\n")


def test_a_plan_of_a_working_tree_is_shown_of_its_files(tmp_path: Path) -> None:
    with premises(tmp_path, declare=four_pools) as shop:
        controller, viewer = shop.service.post.controller, shop.token("viewer")
        assert controller is not None
        controller.source = WorkingTree(shop.work.root)
        shop.work.write("pools.yaml", POOL % "a")
        shop.post("/look", shop.token("deployer")).expect(200)
        until(lambda: waiting(shop, viewer), "the plan")
        (name,) = waiting(shop, viewer)
        shown = shop.at_server(viewer, "plan", name)
        beside = shop.work.run("plan", name)
        assert shown == (beside.code, beside.out, beside.err)
        assert "WorkerPool/d" in beside.out


def test_a_plan_that_became_another_is_not_shown_for_the_one_that_waits(tmp_path: Path) -> None:
    with premises(tmp_path, declare=four_pools) as shop:
        name, _ = remove_three(shop)
        controller = shop.service.post.controller
        assert controller is not None
        controller.engine.store.write_now(lambda tx: tx.execute("DELETE FROM objects WHERE name = ?", "b"))
        said = shop.work.run("plan", name)
        assert (said.code, said.err) == (
            3,
            f"Error: {name} has become another plan, as something else is live by now\n{ANEW}",
        )


SECRET = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  variables: [{name: Password, type: sensitive, value: {source: sealled, key: db}}]
  process:
    - name: Work
      location: {runOn: server}
      script: {syntax: sh, body: work}
      env: {PASSWORD: "${{ vars.Password }}"}
"""


def with_a_secret_of_nobody(work: Workplace) -> None:
    manual(work)
    work.write("project.yaml", SECRET)


def test_a_plan_of_a_server_tells_which_secrets_its_configuration_does_not_give(tmp_path: Path) -> None:
    with premises(tmp_path, declare=with_a_secret_of_nobody) as shop:
        viewer = shop.token("viewer")
        (name,) = waiting(shop, viewer)
        waits = shop.get(f"/plans/{name}/changes?form=text", viewer)
        for shown in (waits, shop.post("/plan", viewer, {"form": "text"})):
            assert shown.expect(200)["text"].endswith(
                'Live: Deployment/shop-test: the step "Work" will fail: the value of Password cannot be had from '
                "the source sealled, key db: no source of this name is configured\n"
            )
