"""How many removals a budget allows: rounded up, and of a share at least one."""

import pytest

from reconciler.model.text import Removals


@pytest.mark.parametrize(
    ("budget", "total", "most"),
    [
        ("25%", 0, 1),
        ("25%", 1, 1),
        ("25%", 4, 1),
        ("25%", 5, 2),
        ("25%", 8, 2),
        ("25%", 9, 3),
        ("33%", 100, 33),
        ("33%", 101, 34),
        ("0%", 100, 1),
        ("100%", 7, 7),
        ("0", 100, 0),
        ("1", 100, 1),
        ("12", 3, 12),
    ],
)
def test_a_budget_allows(budget: str, total: int, most: int) -> None:
    assert Removals(budget).most(total) == most
