"""What callers say with an order is one line in which nothing is hidden, or it is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.model.following import Proposal, Why
from reconciler.server.orders.orders import DecidePlan, Suspend
from reconciler.server.orders.steering import carry_out_steering
from reconciler.store import audit, following
from reconciler.store.writer import Store

FORGED = "holidays\nReady True\x1b[31m, Done"
FOLDED = "holidays Ready True�[31m, Done"
"""As it is recorded."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path), tmp_path) as opened:
        yield opened


def test_the_reason_of_a_suspension_is_one_line(store: Store) -> None:
    store.write_now(lambda tx: carry_out_steering(tx, Suspend("ann", FORGED, 60.0), 100.0))
    standing = store.read_now(lambda tx: following.suspension(tx, 100.0))
    assert standing is not None
    assert standing.reason == FOLDED
    (event,) = store.read_now(audit.events)
    assert event.detail == f"until 1970-01-01T00:02:40Z: {FOLDED}"


@pytest.mark.parametrize("reason", ["", " \n\t", "x" * 1_001])
def test_a_suspension_needs_a_reason(store: Store, reason: str) -> None:
    with pytest.raises(UsageMistake, match=r"^a suspension needs a reason$"):
        store.write_now(lambda tx: carry_out_steering(tx, Suspend("ann", reason, 60.0), 100.0))
    assert store.read_now(lambda tx: following.suspension(tx, 100.0)) is None


def test_the_notes_about_a_plan_are_one_line(store: Store) -> None:
    digest = "0123456789abcdef" * 4
    proposal = Proposal(digest, "a" * 40, Why.MANUAL, "1 to add", 1.0)
    store.write_now(lambda tx: following.propose(tx, proposal))
    store.write_now(lambda tx: carry_out_steering(tx, DecidePlan("ann", proposal.name, "approve", FORGED), 100.0))
    decided = store.read_now(lambda tx: following.proposal(tx, digest))
    assert decided is not None
    assert decided.notes == FOLDED
    (event,) = store.read_now(audit.events)
    assert event.detail == FOLDED
