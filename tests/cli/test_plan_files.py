"""Saved plans: applied once, as shown, or refused with what has changed since."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.workplace import ENVIRONMENT, Workplace, reconcile
from tests.declare.repository import Repository

STALE = "Error: the saved plan is stale:\n%s\n  make a new one with: reconcile plan --out FILE\n"
AGAIN = "Error: the saved plan was applied already\n  make a new one with: reconcile plan --out FILE\n"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Name a plan file outside of the repository."""
    return tmp_path / "plan.json"


def save(place: Workplace, plan: Path, *options: str) -> None:
    place.run("plan", "--out", plan, *options).expect(0)


def test_a_saved_plan_is_its_own_approval(place: Workplace, plan: Path) -> None:
    place.apply()
    place.release("2")
    save(place, plan)
    place.run("apply", plan).expect(0)
    assert '"release": "2"' in place.run("status", "--json").out


def test_a_saved_plan_does_not_decide_about_a_new_state(place: Workplace, plan: Path) -> None:
    save(place, plan)
    assert "add" in place.run("apply", plan).expect(5).out
    place.run("apply", "--new-state", plan).expect(0)


def test_a_saved_plan_of_a_new_state_may_be_adopted(place: Workplace, plan: Path) -> None:
    save(place, plan)
    place.run("apply", "--adopt", plan).expect(0)
    assert '"adopted": true' in place.run("status", "--json").out


def test_a_saved_plan_is_applied_once(place: Workplace, plan: Path) -> None:
    place.apply()
    place.release("2")
    save(place, plan)
    place.run("apply", plan).expect(0)
    assert place.run("apply", plan).expect(3).err == AGAIN


def test_a_plan_whose_changes_come_up_again_is_not_applied_twice(place: Workplace, plan: Path) -> None:
    """Something else is applied between saving and applying, so that the serials differ."""
    place.apply()
    place.release("2")
    save(place, plan)
    place.write("more.yaml", ENVIRONMENT % "more")
    place.release("1")
    place.apply()
    place.release("2")
    place.run("apply", plan).expect(0)
    place.release("1")
    place.apply()
    place.release("2")
    assert place.run("apply", plan).expect(3).err == AGAIN


def test_a_stale_plan_says_per_object_what_changed(place: Workplace, plan: Path) -> None:
    place.apply()
    place.release("2")
    place.write("gone.yaml", ENVIRONMENT % "gone")
    save(place, plan)
    place.release("3")
    (place.root / "gone.yaml").unlink()
    place.write("new.yaml", ENVIRONMENT % "new")
    assert place.run("apply", plan).expect(3).err == STALE % (
        "  Deployment/shop-test: what would change is not what the saved plan shows\n"
        "  Environment/gone: the saved plan changes it, and nothing is to be done for it any more\n"
        "  Environment/new: the saved plan does not know this change\n"
        "  the run of Deployment/shop-test: what would change is not what the saved plan shows"
    )


def test_a_plan_is_stale_where_somebody_applied_it_already(place: Workplace, plan: Path) -> None:
    place.apply()
    place.write("new.yaml", ENVIRONMENT % "new")
    place.commit()
    save(place, plan)
    place.write("other.yaml", ENVIRONMENT % "other")
    place.apply()
    assert place.run("apply", plan).expect(3).err == STALE % (
        "  Environment/new: the saved plan changes it, and nothing is to be done for it any more\n"
        "  Environment/other: the saved plan does not know this change"
    )


def test_a_plan_is_stale_where_a_script_was_rewritten(place: Workplace, plan: Path) -> None:
    place.write("work.sh", "echo one\n")
    project = (place.root / "project.yaml").read_text().replace('body: "echo done"', "file: work.sh")
    place.write("project.yaml", project)
    save(place, plan)
    place.write("work.sh", "echo two\n")
    refused = place.run("apply", "--new-state", plan).expect(3)
    assert refused.err == STALE % "  work.sh: the script is not what it was when the plan was saved"
    place.write("work.sh", "echo one\n")
    place.run("apply", "--new-state", plan).expect(0)


def test_the_plan_of_a_commit_is_applied_from_that_commit(place: Workplace, plan: Path) -> None:
    place.apply()
    place.release("2")
    commit = place.commit()
    save(place, plan)
    assert json.loads(plan.read_text())["revision"] == commit
    place.release("3")
    place.run("apply", plan).expect(0)
    assert f'"revision": "{commit}"' in place.run("status", "--json").out
    assert "release 2" in place.run("why", "Deployment/shop-test").out


def test_the_plan_of_a_former_commit_takes_back(place: Workplace, plan: Path) -> None:
    place.release("2")
    place.commit()
    place.apply()
    place.run("plan", "--rev", "HEAD~1", "--out", plan).expect(0)
    place.run("apply", plan).expect(0)
    assert "release 1" in place.run("why", "Deployment/shop-test").out


def test_the_plan_of_a_working_tree_may_lie_in_it(place: Workplace) -> None:
    place.apply()
    place.release("2")
    inside = place.root / "plan.json"
    save(place, inside)
    save(place, inside)
    assert json.loads(inside.read_text())["revision"].startswith("tree:")
    place.run("apply", inside).expect(0)


def test_a_plan_keeps_the_options_that_it_was_made_with(place: Workplace, plan: Path) -> None:
    place.apply()
    place.release("2")
    place.write("more.yaml", ENVIRONMENT % "more")
    save(place, plan, "--exclude", "Deployment/shop-test")
    shown = place.run("apply", plan).expect(0)
    assert "Plan: 1 to add, 0 to change, 0 to remove.\n" in shown.out


@pytest.mark.parametrize(
    "option", [("--rev", "HEAD"), ("--target", "Project/shop"), ("--exclude", "Project/shop"), ("--max-removals", "3"),
               ("--retry-failed",)], ids=lambda option: option[0],
)  # fmt: skip
def test_a_saved_plan_takes_no_other_options(place: Workplace, plan: Path, option: tuple[str, ...]) -> None:
    save(place, plan)
    assert place.run("apply", *option, plan).expect(1).err == (
        "Error: a saved plan holds what it was made with; --rev, --target, --exclude, --max-removals and "
        "--retry-failed do not go with it\n  make another one with them: reconcile plan --out FILE\n"
    )


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\xfe\x00binary", b'{"format": "another"}', b"Plan: 1 to add"]
)
def test_what_is_no_plan_is_refused(place: Workplace, plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    refused = place.run("apply", plan).expect(1)
    assert refused.err == f"Error: {plan} is not a plan file\n  make one with: reconcile plan --out FILE\n"


@pytest.mark.parametrize("field", ["revision", "serial", "digest", "lines", "options", "text", "integrity"])
def test_a_plan_that_was_edited_is_refused(place: Workplace, plan: Path, field: str) -> None:
    save(place, plan)
    content = json.loads(plan.read_text())
    content[field] = 5 if field == "serial" else "edited"
    plan.write_text(json.dumps(content))
    refused = place.run("apply", plan).expect(1)
    assert refused.err == (
        f"Error: {plan} is damaged: it does not match its own checksum\n  make a new one with: reconcile plan --out FILE\n"
    )


def test_a_plan_of_another_version_is_refused(place: Workplace, plan: Path) -> None:
    save(place, plan)
    plan.write_text(plan.read_text().replace('"version": 1', '"version": 2'))
    assert f"Error: {plan} was written by another version of reconcile\n" in place.run("apply", plan).expect(1).err


def test_a_plan_that_is_cut_off_is_refused(place: Workplace, plan: Path) -> None:
    save(place, plan)
    plan.write_text(plan.read_text()[:-40])
    place.run("apply", plan).expect(1)


def test_a_plan_that_cannot_be_saved_is_named(place: Workplace, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "plan.json"
    assert place.run("plan", "--out", out).expect(1).err == f"Error: {out}: No such file or directory\n"


def test_a_target_brings_what_it_needs_and_nothing_else(place: Workplace) -> None:
    place.write("more.yaml", ENVIRONMENT % "more")
    shown = place.run("plan", "--target", "Project/shop").expect(0).out
    assert re.findall(r"^  # (\S+) will", shown, re.MULTILINE) == ["Environment/test", "Project/shop"]


def test_an_exclusion_takes_what_needs_it_along(place: Workplace) -> None:
    place.write("more.yaml", ENVIRONMENT % "more")
    shown = place.run("plan", "--exclude", "Project/shop").expect(0).out
    assert set(re.findall(r"^  # (\S+) will", shown, re.MULTILINE)) == {"Environment/more", "Environment/test"}


def test_adopted_deployments_count_as_done_until_they_change(place: Workplace) -> None:
    shown = place.run("apply", "--auto-approve", "--adopt").expect(0)
    assert "Apply complete! 3 changes carried out. 1 deployment adopted.\n" in shown.err
    place.run("plan", "--detailed-exitcode").expect(0)
    place.release("2")
    place.apply()
    assert '"adopted": false' in place.run("status", "--json").out


def test_a_state_of_another_repository_is_refused(place: Workplace, tmp_path: Path) -> None:
    place.apply()
    other = Workplace(tmp_path / "other")
    other.declare_shop("echo other")
    other.commit()
    refused = other.run("plan", "--data", place.data).expect(3)
    assert refused.err == (
        f"Error: this state belongs to another repository: it was applied from {place.root}\n"
        "  name another state with --data\n"
    )
    assert other.run("apply", "--auto-approve", "--data", place.data).expect(3).err == refused.err


def test_another_folder_of_one_repository_is_another_space(tmp_path: Path) -> None:
    whole = Repository(tmp_path / "whole")
    for folder in ("one", "two"):
        whole.write(f"{folder}/environment.yaml", ENVIRONMENT % folder)
    whole.commit()
    data = tmp_path / "data"
    reconcile("apply", "-C", whole.root / "one", "--data", data, "--auto-approve").expect(0)
    refused = reconcile("plan", "-C", whole.root / "two", "--data", data).expect(3)
    assert f"it was applied from {whole.root}/one\n" in refused.err


def test_a_clone_elsewhere_is_the_same_repository(place: Workplace, tmp_path: Path) -> None:
    place.apply()
    place.git("clone", "-q", str(place.root), str(tmp_path / "clone"))
    reconcile("plan", "-C", tmp_path / "clone", "--data", place.data, "--detailed-exitcode").expect(0)


def test_shallow_clones_at_one_place_are_the_same_repository(place: Workplace, tmp_path: Path) -> None:
    """As a CI job has them: fresh at each commit, with a history of one."""
    data, clone = tmp_path / "data", tmp_path / "clone"
    for number in "12":
        place.release(number)
        place.commit()
        place.git("clone", "-q", "--depth=1", f"file://{place.root}", str(clone))
        reconcile("apply", "-C", clone, "--data", data, "--auto-approve", "--new-state").expect(0)
        clone.rename(tmp_path / f"done-{number}")


def test_a_state_of_another_space_is_refused(place: Workplace) -> None:
    place.apply()
    place.write("reconcile.yaml", "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: other}\nspec: {}\n")
    place.commit()
    refused = place.run("plan").expect(3)
    assert refused.err == (
        f'Error: this state belongs to the space "default", and {place.root} declares "other"\n'
        "  name another state with --data, or give the space its name back\n"
    )


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_the_space_may_be_insisted_on(place: Workplace, verb: str) -> None:
    options = ["--auto-approve", "--new-state"] if verb == "apply" else []
    refused = place.run(verb, "--space", "other", *options).expect(1)
    assert refused.err == f'Error: {place.root} declares the space "default", not "other"\n'
    place.run(verb, "--space", "default", *options).expect(0)
