"""Every difference is shown, and nothing else."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from reconciler.model.spec import canonical_json
from reconciler.plan.changes import ABSENT, FieldChange
from reconciler.plan.differences import differences

NAMES = st.sampled_from(["a", "b", "name", "order"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.floats(0, 2, width=16), st.sampled_from(["", "1"]))
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@dataclass(frozen=True)
class Version:
    spec: str
    metadata: str = "{}"


def of(spec: JsonValue, metadata: JsonValue = None) -> Version:
    return Version(canonical_json(spec), canonical_json(metadata or {}))


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_two_versions_differ_in_some_field_if_and_only_if_they_differ(
    before: dict[str, JsonValue], after: dict[str, JsonValue]
) -> None:
    found = differences(of(before), of(after))
    assert bool(found) is (canonical_json(before) != canonical_json(after))
    assert all(canonical_json(shown(field.before)) != canonical_json(shown(field.after)) for field in found)


def shown(value: object) -> object:
    return [] if value is ABSENT else [value]


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ({"b": 1}, {"b": True})])
def test_values_that_only_python_calls_equal_are_two(before: JsonValue, after: JsonValue) -> None:
    assert len(differences(of({"a": before}), of({"a": after}))) == 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"a": {"b": 1}}, [FieldChange("a", ABSENT, {"b": 1})]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, [FieldChange("a.b", 1, 3)]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [FieldChange("a", [1, 2], [2, 1])]),
        ({"a": [{"name": "x", "n": 1}]}, {"a": [{"name": "x", "n": 2}]}, [FieldChange("a.x.n", 1, 2)]),
        (
            {"a": [{"name": "x"}, {"name": "y"}]},
            {"a": [{"name": "y"}, {"name": "x"}]},
            [FieldChange("a.order", ["x", "y"], ["y", "x"])],
        ),
        ({"a": [{"name": "x"}]}, {}, [FieldChange("a.x", {}, ABSENT)]),
        ({}, {"a": [{"name": "x", "n": 1}]}, [FieldChange("a.x", ABSENT, {"n": 1})]),
        (
            {},
            {"a": [{"name": "y"}, {"name": "x"}]},
            [
                FieldChange("a.x", ABSENT, {}),
                FieldChange("a.y", ABSENT, {}),
                FieldChange("a.order", ABSENT, ["y", "x"]),
            ],
        ),
        ({"a": [{"name": "x"}, {"name": "x"}]}, {"a": []}, [FieldChange("a", [{"name": "x"}, {"name": "x"}], [])]),
    ],
)
def test_a_difference_is_as_small_as_people_think_of_it(
    before: JsonValue, after: JsonValue, expected: list[FieldChange]
) -> None:
    assert list(differences(of(before), of(after))) == expected


def test_metadata_comes_first_and_the_name_is_in_the_headline_already() -> None:
    found = differences(of({"a": 1}, {"name": "x", "protect": True}), of({"a": 2}, {"name": "y"}))
    assert [field.path for field in found] == ["metadata.protect", "a"]
