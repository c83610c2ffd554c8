"""What is certain of a faulty object, and what is not."""

import pytest

from reconciler.declare.gaps import FieldPath, Gaps

GAPS = Gaps([("spec", "pools", 1), ("metadata",)])


@pytest.mark.parametrize(
    ("path", "open_at", "lacks"),
    [
        (("spec",), True, False),
        (("spec", "pools"), True, False),
        (("spec", "pools", 0), False, False),
        (("spec", "pools", 1), True, True),
        (("spec", "pools", 1, "name"), True, True),
        (("spec", "pools", None), True, True),
        (("spec", "slots"), False, False),
        (("metadata", "name"), True, True),
        ((), True, False),
    ],
)
def test_a_gap_is_found_from_above_and_from_below(path: FieldPath, open_at: bool, lacks: bool) -> None:
    assert (GAPS.open_at(path), GAPS.lacks(path)) == (open_at, lacks)
    assert not Gaps().open_at(path)
