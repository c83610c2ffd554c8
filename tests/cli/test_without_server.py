"""What a state says that a server followed, or that was restored, while no server runs."""

import json
import re
from pathlib import Path

import pytest

from reconciler.model.following import Condition, ConditionType, Proposal, SourceState, Why
from reconciler.store import following
from reconciler.store.database import Transaction
from tests.cli.workplace import Workplace

AT = 1_896_069_600.0  # 2030-01-31T06:00:00Z
SUSPENDED = (
    r"suspended by \S+ until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ: restored from the backup of \S+Z; "
    "end it with: reconcile resume"
)


@pytest.fixture
def left(tmp_path: Path) -> Workplace:
    """Leave the state as a server leaves it that asked for a plan to be approved, and was killed."""
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.commit()
    place.apply()
    head = place.git("rev-parse", "HEAD").strip()
    asks = "nothing ever ran here; approve it with: reconcile approve plan-abcdefabcdef"
    ready = ("AwaitingApproval", asks, head)
    conditions = (
        Condition(ConditionType.READY, False, *ready),
        Condition(ConditionType.RECONCILING, False, "Idle", "nothing is under way", head),
        Condition(ConditionType.STALLED, True, *ready),
    )

    def leave(tx: Transaction) -> None:
        following.see_source(tx, SourceState(str(place.root), "main", "", head, looked_at=AT))
        following.set_conditions(tx, conditions, AT - 60.0)
        following.propose(tx, Proposal("abcdefabcdef" + "0" * 52, head, Why.NEW_STATE, "1 to run", AT))

    with place.store() as store:
        store.write_now(leave)
    return place


def test_status_says_that_no_server_runs_and_when_one_did(left: Workplace) -> None:
    shown = left.run("status").expect(0).out
    assert "Stalled True, AwaitingApproval: nothing ever ran here; approve it with: " in shown
    assert "\nAs of 2030-01-31T06:00:00Z; no server runs\n" in shown
    assert "built-in  default  built-in  at rest; runs the steps of default\n" in shown
    record = json.loads(left.run("status", "--json").expect(0).out)
    assert (record["engine_runs"], record["as_of"]) == (False, "2030-01-31T06:00:00Z")
    assert record["suspension"] is None


def test_an_apply_beside_the_state_clears_what_it_made_untrue(left: Workplace) -> None:
    left.release("2")
    left.apply()
    shown = left.run("status").expect(0).out
    assert "AwaitingApproval" not in shown
    assert "waits for a person" not in shown
    assert "\nNo server runs\n" in shown
    record = json.loads(left.run("status", "--json").expect(0).out)
    assert (record["conditions"], record["plans"], record["as_of"]) == ([], [], None)


def test_an_apply_that_changes_nothing_leaves_what_was_said(left: Workplace) -> None:
    left.apply()
    assert "AwaitingApproval" in left.run("status").expect(0).out
    assert len(json.loads(left.run("status", "--json").out)["plans"]) == 1


def test_a_plan_that_nobody_will_carry_out_is_no_matter_of_a_person(left: Workplace) -> None:
    head = left.git("rev-parse", "HEAD").strip()[:12]
    said = left.run("wait", "--commit", "HEAD", "--timeout", "1s").expect(9)
    why = (
        "no server runs; as of 2030-01-31T06:00:00Z: nothing ever ran here; "
        "approve it with: reconcile approve plan-abcdefabcdef"
    )
    assert said.err == (f"{head}: under way: {why}\nError: {head} was not carried out within 1s: {why}\n")
    assert said.out == ""


@pytest.fixture
def restored(tmp_path: Path) -> Workplace:
    """Restore a state in the place of the one that it is a backup of."""
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.commit()
    place.apply()
    place.run("backup", "--to", tmp_path / "b.tar", "--with-key").expect(0)
    place.data.rename(tmp_path / "before")
    place.run("restore", tmp_path / "b.tar").expect(0)
    return place


def test_a_restored_state_shows_that_it_is_suspended_before_any_server_ran(restored: Workplace) -> None:
    shown = restored.run("status").expect(0).out
    assert re.search(rf"^S{SUSPENDED[1:]}$", shown, re.MULTILINE), shown
    suspension = json.loads(restored.run("status", "--json").expect(0).out)["suspension"]
    assert suspension["reason"].startswith("restored from the backup of 20")
    assert set(suspension) == {"by", "reason", "since", "until"}


def test_waiting_ends_at_once_where_a_suspension_outlasts_it(restored: Workplace) -> None:
    head = restored.git("rev-parse", "HEAD").strip()[:12]
    said = restored.run("wait", "--commit", "HEAD", "--timeout", "1h").expect(7)
    assert re.fullmatch(f"{head}: {SUSPENDED}\n", said.err), said.err
    restored.run("resume").expect(0)
    assert "uspended" not in restored.run("status").expect(0).out


def test_waiting_goes_on_past_the_end_of_a_shorter_suspension(left: Workplace) -> None:
    left.release("2")
    left.apply()
    left.run("suspend", "--reason", "a moment", "--until", "1s").expect(0)
    head = left.git("rev-parse", "HEAD").strip()[:12]
    said = left.run("wait", "--commit", "HEAD", "--timeout", "4s").expect(9)
    first, *others = said.err.splitlines()
    sentence = r"suspended by \S+ until \S+Z: a moment; end it with: reconcile resume"
    assert re.fullmatch(f"{head}: waits for the end of a suspension: {sentence}", first), first
    assert others == [
        f"{head}: under way: no server runs; no commit was judged yet",
        f"Error: {head} was not carried out within 4s: no server runs; no commit was judged yet",
    ]
