"""How a plan reads on a terminal, where no scenario shows it."""

import pytest
from pydantic import JsonValue

from reconciler.model.spec import Address, Position
from reconciler.plan.changes import ABSENT, Action, Change, FieldChange, Plan
from reconciler.plan.text import VALUE_MAX, change_lines, render

HERE = Position("shop.yaml", 1)


def shown(before: JsonValue, after: JsonValue) -> str:
    change = Change(Address("Team", "t"), Action.UPDATE, "so", HERE, (FieldChange("f", before, after),))
    return list(change_lines(change))[-1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (1.5, "1.5"),
        ("plain words", "plain words"),
        ("日本語", "日本語"),
        ("", '""'),
        (" padded", '" padded"'),
        ("two\nlines\t", r'"two\nlines\t"'),
        ('a "quote" \\ \n', r'"a \"quote\" \\ \n"'),
        ("bell\a", '"bell\\u0007"'),
        ("\u202eright to left", '"\\u202eright to left"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ([], "[]"),
        ({"a": [1, {"b": None}]}, "{a: [1, {b: null}]}"),
    ],
)
def test_a_value_is_written_so_that_nothing_hides_in_it(value: JsonValue, expected: str) -> None:
    assert shown("before", value) == f"    ~   f: before -> {expected}"


def test_a_long_value_is_cut_and_says_so() -> None:
    assert shown("a", "x" * 300) == f"    ~   f: a -> {'x' * VALUE_MAX}…"


def test_a_field_that_comes_or_goes_bears_its_own_sign() -> None:
    fields = (FieldChange("come", ABSENT, 1), FieldChange("gone", 2, ABSENT), FieldChange("other", 3, 4))
    change = Change(Address("Team", "t"), Action.UPDATE, "so", HERE, fields)
    assert list(change_lines(change))[2:] == ["    +   come: 1", "    -   gone: 2", "    ~   other: 3 -> 4"]


@pytest.mark.parametrize("revision", ["", "tree:" + "a" * 64])
def test_a_working_tree_is_called_so(revision: str) -> None:
    change = Change(Address("Team", "t"), Action.CREATE, "so", HERE)
    assert render(Plan("acme", revision, 1)) == "No changes. The live state is what the working tree declares.\n"
    assert render(Plan("acme", revision, 1, (change,))).startswith("The working tree asks for these changes:\n")


def test_a_commit_is_named_by_its_first_seven_digits_as_git_writes_them() -> None:
    change = Change(Address("Team", "t"), Action.CREATE, "so", HERE)
    assert render(Plan("acme", "beef123" + "0" * 33, 1, (change,))).startswith("beef123 asks for these changes:\n")


def test_the_legend_names_only_the_symbols_that_are_used() -> None:
    change = Change(Address("Team", "t"), Action.REPLACE, "so", HERE)
    assert render(Plan("acme", "beef123", 1, (change,))).splitlines()[:3] == [
        "beef123 asks for these changes:",
        "  -/+ replace",
        "",
    ]
