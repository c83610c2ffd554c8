"""A plan that waits for a person is shown as the controller has made it, and no longer than it waits."""

from pathlib import Path

from reconciler.model.following import plan_name
from tests.api.premises import Premises, premises, until
from tests.cli.workplace import Workplace

MANUAL = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {approval: manual}\n"


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
            "hint": "see: GET …/plans",
            "code": 1,
        }
        shop.post(f"/plans/{name}/approve", shop.token("approver"), {}).expect(200)
        until(lambda: not waiting(shop, viewer), "the end of the plan")
        until(lambda: shop.get(f"/plans/{name}/changes", viewer).status == 404, "the end of its sight")
