"""A comment on a pull request is never longer than GitHub takes, and says when it was cut."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.live import Slot
from reconciler.model.spec import Address, Position
from reconciler.plan.changes import ABSENT, Action, Change, FieldChange, LiveFact, Plan, Refusal, Run, RunReason
from reconciler.plan.markdown import CHARACTERS_MAX, CUT, PASSING_MAX, REMARKS_MAX, render

HERE = Position("shop.yaml", 1)


def change(number: int, value: str, action: Action = Action.CREATE) -> Change:
    return Change(
        Address("Team", f"team-{number}"), action, "it is declared", HERE, (FieldChange("members", ABSENT, [value]),)
    )


def run(number: int, warning: str) -> Run:
    return Run(
        f"d-{number}",
        Slot("shop", "staging"),
        "1",
        "",
        RunReason.FIRST,
        "it is declared",
        HERE,
        warnings=(warning,),
    )


@given(
    changes=st.integers(0, 1500),
    runs=st.integers(0, 300),
    warnings=st.lists(st.text(max_size=100), max_size=3),
    repeated=st.integers(1, 2000),
    value=st.text(max_size=300),
)
@settings(max_examples=25, deadline=None)
def test_a_plan_of_any_size_fits_a_comment(
    changes: int, runs: int, warnings: list[str], repeated: int, value: str
) -> None:
    shown = render(
        Plan(
            "acme",
            "4f1c2d0",
            1,
            tuple(change(number, value) for number in range(changes)),
            tuple(run(number, value) for number in range(runs)),
            warnings=tuple(warnings * repeated),
            failed=tuple(warnings),
        )
    )
    assert len(shown) <= CHARACTERS_MAX
    assert shown.startswith("<!-- reconciler plan: acme -->\n### ")
    if changes or runs:
        assert "\n```\n\n</details>\n" in shown


def test_a_cut_is_said_and_falls_between_lines() -> None:
    shown = render(Plan("acme", "", 1, tuple(change(number, "x" * 150) for number in range(1000))))
    assert CHARACTERS_MAX - PASSING_MAX - 300 < len(shown) <= CHARACTERS_MAX - PASSING_MAX
    *_, before, cut, fence, empty, end = shown.splitlines()
    assert before == "" or before.endswith(("will be created", "(because it is declared)", f"members: [{'x' * 150}]"))
    assert cut == "… cut here: the whole plan is longer than a comment may be"
    assert (fence, empty, end) == ("```", "", "</details>")


def test_warnings_leave_room_for_the_changes() -> None:
    shown = render(Plan("acme", "", 1, (change(1, "ada"),), warnings=("w" * 99,) * 1000))
    head, _, body = shown.partition("<details>")
    assert len(head) <= REMARKS_MAX + 200
    assert "+   +   members: [ada]" in body


def test_a_plan_that_fits_is_whole() -> None:
    assert CUT not in render(Plan("acme", "", 1, (change(1, "ada"),), warnings=("careful",)))


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (Action.CREATE, "+   +   members: [x]"),
        (Action.UPDATE, "+   +   members: [x]"),
        (Action.REMOVE, "-   -   members: [x]"),
        (Action.REPLACE, "+   +   members: [x]"),
    ],
)
def test_a_diff_is_coloured_by_its_first_column(action: Action, line: str) -> None:
    field = FieldChange("members", ["x"], ABSENT) if action is Action.REMOVE else FieldChange("members", ABSENT, ["x"])
    shown = render(Plan("acme", "", 1, (Change(Address("Team", "t"), action, "so", HERE, (field,)),)))
    assert line in shown.splitlines()


def test_nothing_in_a_plan_ends_the_block_of_the_diff() -> None:
    shown = render(Plan("acme", "", 1, (change(1, "```\n```"),), warnings=("``` in a warning",)))
    assert shown.partition("<details>")[2].count("```") == 2


def test_a_refused_plan_says_so_in_its_headline() -> None:
    plan = Plan("acme", "", 1, (change(1, "x"),), refusals=(Refusal("other-space", "it is another one"),))
    assert render(plan).startswith("<!-- reconciler plan: acme -->\n")
    assert "<details><summary>Changes</summary>" in render(plan)
    assert "### ⛔ Plan: 1 to add, 0 to change, 0 to remove.\n\n> **Refused:** it is another one\n" in render(plan)


def test_a_plan_without_changes_still_says_what_failed_and_what_runs() -> None:
    plan = Plan("acme", "4f1c2d0", 1, failed=("Deployment/a failed",), facts=(LiveFact("b runs"),))
    assert render(plan) == (
        "<!-- reconciler plan: acme -->\n### No changes. The live state is what 4f1c2d0 declares.\n"
        "\n> **Failed:** Deployment/a failed\n\n> **Live:** b runs\n"
    )


def test_the_changes_are_cut_at_one_place_whatever_moves_beside_them() -> None:
    quiet = Plan("acme", "", 1, tuple(change(number, "x" * 150) for number in range(1000)))
    busy = replace(quiet, facts=(LiveFact("y" * 500),) * 100)
    assert render(busy).startswith(render(quiet))
    assert len(render(busy)) <= CHARACTERS_MAX
    assert render(busy).endswith(f"{CUT[1:]}")
