"""What committers, callers and agents have put into words commands no terminal, and forges no line."""

import json
import time

import pytest

from reconciler.cli.output import shown
from reconciler.model.following import Condition, ConditionType, Judged, Suspension, Verdict
from reconciler.model.live import Event
from reconciler.store import audit, following, objects
from tests.cli.workplace import MANUAL, PROJECT, Workplace, reconcile

FORGED = "Ann \x1b[31m\nReady True"
ONE_LINE = "Ann �[31m Ready True"


@pytest.fixture
def forged(place: Workplace) -> Workplace:
    """Make a state that others have written their words into, as an older release took them."""
    place.apply()
    with place.store() as store:
        revision = store.read_now(lambda tx: objects.live_state(tx).revision)
        made = Judged(revision, FORGED, FORGED, Verdict.APPLIED, "", 1.0, 1.0)
        store.write_now(lambda tx: following.judge(tx, made))
        store.write_now(lambda tx: audit.record(tx, Event(1.0, FORGED, "look", "Deployment/shop-test", detail=FORGED)))
        stalled = Condition(ConditionType.STALLED, True, "Suspended", FORGED, revision)
        store.write_now(lambda tx: following.set_conditions(tx, [stalled], 1.0))
        store.write_now(lambda tx: following.suspend(tx, Suspension("ann", FORGED, 1.0, time.time() + 600.0)))
    return place


def test_why_tells_the_words_of_a_committer_on_one_line(forged: Workplace) -> None:
    out = forged.run("why", "Deployment/shop-test").expect(0).out
    assert f'that commit is by {ONE_LINE}: "{ONE_LINE}"\n' in out
    assert f": look by {ONE_LINE}, done: {ONE_LINE}\n" in out
    assert "\x1b" not in out


def test_programs_are_told_the_words_as_they_were_said(forged: Workplace) -> None:
    out = forged.run("why", "Deployment/shop-test", "--json").expect(0).out
    told = [json.loads(line).get("message") for line in out.splitlines()]
    assert f'that commit is by {FORGED}: "{FORGED}"' in told


@pytest.mark.parametrize("command", [("events",), ("audit", "list")])
def test_tables_keep_a_row_on_its_line(forged: Workplace, command: tuple[str, ...]) -> None:
    out = reconcile(*command, "-C", forged.root).expect(0).out
    assert f"  {ONE_LINE}  " in out
    assert "\x1b" not in out
    assert "\nReady" not in out


def test_status_tells_a_condition_on_its_line(forged: Workplace) -> None:
    out = forged.run("status").expect(0).out
    assert f"Stalled True, Suspended: {ONE_LINE}\n" in out


def last_detail(place: Workplace) -> str:
    detail = json.loads(place.run("events", "--json", "--limit", "1").expect(0).out.splitlines()[-1])["detail"]
    assert isinstance(detail, str)
    return detail


def test_the_reason_of_a_suspension_is_recorded_as_one_line(forged: Workplace) -> None:
    forged.run("suspend", "--reason", FORGED).expect(0)
    assert last_detail(forged).endswith(f": {ONE_LINE}")


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_the_notes_of_a_decision_are_recorded_as_one_line(place: Workplace, verb: str) -> None:
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL)
    place.apply(expect=7)
    place.run(verb, "1", "--notes", FORGED).expect(0)
    assert last_detail(place) == ONE_LINE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain\n  and more\n", "plain\n  and more\n"),
        ("grüße\n✓\n", "grüße\n✓\n"),
        ("a\x1b[2Jb\r\n", "a�[2Jb�\n"),
        ("left \u202e thgir", "left � thgir"),
        ("a\tb", "a    b"),
    ],
)
def test_lines_are_shown_without_what_commands_a_terminal(text: str, wanted: str) -> None:
    assert shown(text) == wanted


def test_an_error_shows_what_was_typed_and_does_not_do_it(place: Workplace) -> None:
    place.apply()
    told = place.run("logs", "x\x1b[31m\ny").expect(1).err
    assert told == 'Error: there is no task of a deployment "x�[31m\ny"\n  `reconcile tasks` lists them\n'
