"""A saved plan is a promise: it comes back as it was, or it is refused in words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.desired import DesiredState
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Slot
from reconciler.model.spec import Address, Position, canonical_json, digest_of
from reconciler.plan.changes import ABSENT, Action, Change, FieldChange, Plan, Run, RunReason
from reconciler.plan.planner import plan
from reconciler.plan.saved import FORMAT, SavedPlan, moved, plan_lines, read, write
from tests.plan.living import live_of
from tests.plan.spaces import desired_states
from tests.scenarios.declaring import declare

HERE = Position("shop.yaml", 1)
POOL = Change(Address("WorkerPool", "omaha"), Action.UPDATE, "it differs", HERE, (FieldChange("minWorkers", 1, 2),))
DEPLOYMENT = Change(
    Address("Deployment", "shop-staging"), Action.UPDATE, "it differs", HERE, (FieldChange("release", "1", "2"),)
)
RUN = Run("shop-staging", Slot("shop", "staging"), "2", "d" * 64, RunReason.CHANGED, "it is declared", HERE)
PLAN = Plan("acme", "4f1c2d0" + "0" * 33, 7, (POOL, DEPLOYMENT), (RUN,))
TEXT = 'As it was shown: "quoted", \\ue000, \\udead, \t, ünïcode 😀\n'
SAVED = write(PLAN, {"targets": ["Worker/w"], "maxRemovals": None}, TEXT)


def test_a_saved_plan_comes_back_as_it_was() -> None:
    assert read(SAVED, "p.json") == SavedPlan(
        "acme",
        PLAN.revision,
        7,
        PLAN.digest,
        tuple(canonical_json(line) for line in plan_lines(PLAN)),
        {"targets": ["Worker/w"], "maxRemovals": None},
        TEXT,
    )


@given(desired_states(), desired_states())
@settings(max_examples=15, deadline=None)
def test_nothing_has_moved_while_nothing_has_moved(before: DesiredState, after: DesiredState) -> None:
    found = plan(after, live_of(before))
    assert moved(read(write(found, {}, ""), "p.json"), found) == []


@given(at=st.integers(0, len(SAVED) - 1), character=st.characters(codec="utf-8"))
@settings(max_examples=400, deadline=None)
def test_a_changed_character_is_refused_in_words_or_changes_nothing(at: int, character: str) -> None:
    assert outcome(SAVED[:at] + character + SAVED[at + 1 :]) in {
        "it is the same plan",
        "p.json is not a plan file; make one with: reconcile plan --out FILE",
        "p.json was written by another version of reconcile; make a new one with: reconcile plan --out FILE",
        "p.json is damaged: it does not match its own checksum; make a new one with: reconcile plan --out FILE",
    }


def outcome(text: str) -> str:
    try:
        found = read(text, "p.json")
    except UsageMistake as refused:
        return f"{refused.message}; {refused.hint}"
    return "it is the same plan" if found == read(SAVED, "p.json") else "it is another plan"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "hello", '{"format": 1}', '"reconciler plan"'])
def test_another_file_is_no_plan(text: str) -> None:
    with pytest.raises(UsageMistake, match=r"^p\.json is not a plan file$"):
        read(text, "p.json")


def test_a_plan_of_another_version_is_not_guessed_at() -> None:
    with pytest.raises(UsageMistake, match=r"^p\.json was written by another version of reconcile$"):
        read(json.dumps({"format": FORMAT, "version": 2}), "p.json")


def test_half_a_surrogate_pair_is_damage_and_no_crash() -> None:
    with pytest.raises(UsageMistake, match="is damaged"):
        read(SAVED.replace("\\\\udead", "\\udead"), "p.json")


def test_what_has_moved_is_said_for_each_object() -> None:
    saved = read(SAVED, "p.json")
    other = Change(POOL.address, Action.UPDATE, "", HERE, (FieldChange("minWorkers", 1, 3),))
    new = Change(Address("Team", "dba"), Action.CREATE, "", HERE)
    assert moved(saved, Plan("acme", "", 8, (other, new, DEPLOYMENT), ())) == [
        "Team/dba: the saved plan does not know this change",
        "WorkerPool/omaha: what would change is not what the saved plan shows",
        "the run of Deployment/shop-staging: the saved plan changes it, and nothing is to be done for it any more",
    ]


def test_a_deployment_and_its_run_are_told_apart() -> None:
    saved = read(SAVED, "p.json")
    other = Change(DEPLOYMENT.address, Action.UPDATE, "", HERE, (FieldChange("priority", ABSENT, 3),))
    assert moved(saved, Plan("acme", "", 7, (POOL, other), (RUN,))) == [
        "Deployment/shop-staging: what would change is not what the saved plan shows"
    ]


def test_a_plan_of_another_space_is_told_apart() -> None:
    assert moved(read(SAVED, "p.json"), Plan("zeta", "", 7, PLAN.changes, PLAN.runs)) == [
        'the saved plan is one of the space "acme"'
    ]


def test_prose_and_what_moves_by_itself_are_not_held() -> None:
    reworded = Change(POOL.address, POOL.action, "other words", Position("b.yaml", 9), POOL.fields, ("so what",))
    assert Plan("acme", "x", 9, (reworded, DEPLOYMENT), (RUN,), warnings=("w",), notes=("n",)).digest == PLAN.digest


def test_the_order_of_the_steps_of_a_new_project_is_held() -> None:
    digests = {
        plan(declare({"a.yaml": PROJECT.format(*names)}), live_of(declare({}))).digest
        for names in (("Migrate", "Ship"), ("Ship", "Migrate"))
    }
    assert len(digests) == 2


def test_the_integrity_covers_every_field() -> None:
    content = json.loads(SAVED)
    assert content.pop("integrity") == digest_of(canonical_json(content))


PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  process:
    - {{name: {}, script: {{syntax: bash, body: a}}}}
    - {{name: {}, script: {{syntax: bash, body: a}}}}
"""
