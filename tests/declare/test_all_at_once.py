"""One run shows all that can be judged: no error hides another, and none follows from another."""

import itertools
import os

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.declare.render import as_text
from tests.declare.checking import check
from tests.declare.slips import SLIPS, WHOLE, Slip, files, with_slips

RIGHT = files()
TOGETHER = WHOLE.parent / "together"
JUDGED_BY_OTHERS = {
    "bad-parameter", "duplicate-identity", "duplicate-variable", "environment-not-allowed", "few-workers", "pool-scope",
    "required-step", "secret-in-clear", "source-not-allowed", "tenant-not-connected", "unknown-name", "unknown-reference", "unknown-step", "unknown-tag",
    "unknown-variable", "variable-prefix",
}  # fmt: skip
"""What can be said of a field only where something elsewhere is certain."""

Found = set[tuple[str, int, str]]


def found(slips: tuple[Slip, ...]) -> Found:
    return {(one.span.file, one.span.line, one.code) for one in check(with_slips(RIGHT, slips))}


ALONE = {slip: found((slip,)) for slip in SLIPS}


def lines(slip: Slip) -> set[tuple[str, int]]:
    """Return the lines that a slip changes, and those that are blamed for it."""
    first = RIGHT[slip.file].count("\n", 0, RIGHT[slip.file].index(slip.line)) + 1
    changed = {(slip.file, number) for number in range(first, first + slip.line.count("\n") + 1)}
    return changed | {(file, line) for file, line, _ in ALONE[slip]}


def test_the_whole_space_is_free_of_faults() -> None:
    assert check(RIGHT) == []


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: " ".join(slip.instead.split())[:50])
def test_a_slip_is_told_once_and_nothing_follows_from_it(slip: Slip) -> None:
    assert tuple(sorted(one.code for one in check(with_slips(RIGHT, [slip])))) == slip.codes


def in_one_space(slips: list[Slip]) -> bool:
    return not any(slip.alone for slip in slips) and not any(
        lines(one) & lines(other) for one, other in itertools.combinations(slips, 2)
    )


several = st.lists(st.sampled_from(SLIPS), min_size=2, max_size=6, unique=True).filter(in_one_space)


@settings(deadline=None)
@given(slips=several)
def test_many_slips_earn_what_each_earns_alone(slips: list[Slip]) -> None:
    together, each = found(tuple(slips)), set().union(*(ALONE[slip] for slip in slips))
    assert together <= each
    hidden = {code for _, _, code in each - together}
    if not any(slip.casts_doubt for slip in slips):
        assert not hidden
    elif not any(slip.casts_doubt and "unknown-key" in slip.codes for slip in slips):  # below those nothing is judged
        assert hidden <= JUDGED_BY_OTHERS


@settings(deadline=None)
@given(slips=several, data=st.data())
def test_mending_one_error_makes_no_other_appear_that_could_be_judged_before(
    slips: list[Slip], data: st.DataObject
) -> None:
    mended = data.draw(st.sampled_from(slips))
    assume(not mended.casts_doubt)
    assert found(tuple(slip for slip in slips if slip is not mended)) <= found(tuple(slips))


def test_a_space_full_of_mistakes_is_told_of_all_of_them_at_once() -> None:
    """Mistakes of every kind within one document and across them: exactly these, word for word."""
    together = {path.name: path.read_text() for path in TOGETHER.glob("*.yaml")}
    shown = "\n".join([*as_text(check(together), together.get), ""])
    expected = TOGETHER / "expected.txt"
    if os.environ.get("REWRITE"):
        expected.write_text(shown)
    assert shown == expected.read_text()
