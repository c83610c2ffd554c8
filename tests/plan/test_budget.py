"""How many removals a budget allows: rounded up, and of a share at least one."""

import pytest

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveObject, LiveState
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position
from reconciler.model.text import Removals
from reconciler.plan.changes import Action, Change
from reconciler.plan.safety import guard


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


@pytest.mark.parametrize(
    ("ceiling", "bound"),
    [
        (True, "the server's removals_max 2 allows 2, whoever approves it"),
        (False, "maxRemovals 2 allows 2; if that is meant, apply with --max-removals 3, or approve it at the server"),
    ],
)
def test_a_budget_says_whose_it_is(ceiling: bool, bound: str) -> None:
    pools = [Address("WorkerPool", name) for name in "abcd"]
    live = LiveState({pool: LiveObject(pool, "{}", "{}", "", Position("p.yaml", 1, 1), "") for pool in pools}, {})
    changes = [Change(pool, Action.REMOVE, "gone") for pool in pools[:3]]
    desired = DesiredState("s", SpaceSpec(), {}, "c", complete=True)
    guarded = guard(changes, desired, live, SpaceSpec(), Removals("2"), ceiling=ceiling)
    assert {change.refusal for change in guarded} == {f"this plan removes 3 of 4 WorkerPools and {bound}"}
