"""Spans that people type: what is longer than anything here is refused before anything is asked."""

import pytest

from tests.cli.workplace import Workplace, reconcile


@pytest.mark.parametrize("digits", [20, 5_000])
@pytest.mark.parametrize(
    "arguments",
    [
        ("access", "create", "ci", "--role", "viewer", "--space", "s", "--expires"),
        ("token", "create", "--worker", "w", "--pool", "p", "--ttl"),
        ("suspend", "--reason", "x", "--until"),
        ("wait", "--commit", "HEAD", "--timeout"),
        ("audit", "list", "--since"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_span_beyond_all_bounds_is_refused_at_its_option(
    place: Workplace, arguments: tuple[str, ...], digits: int
) -> None:
    place.store().close()
    told = reconcile(*arguments, f"{'9' * digits}d", "-C", place.root).expect(1).err
    assert told == (
        f"Error: {arguments[-1]}: a span of more than a hundred years is expected nowhere\n  give a shorter one\n"
    )
