"""What `why` says of an object that was applied once, and is not any more."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.workplace import POOL, Workplace, worker


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Apply a pool with a worker, which then leaves the working tree."""
    found = Workplace(tmp_path / "space")
    found.write("pool.yaml", POOL % "linux")
    found.write("worker.yaml", worker("lin-01", "linux"))
    found.commit()
    found.apply()
    (found.root / "worker.yaml").unlink()
    return found


def test_why_of_an_object_that_left_git_names_who_removed_it_when_and_by_which_commit(place: Workplace) -> None:
    place.commit()
    place.apply("--max-removals", "100%")
    head = place.git("rev-parse", "HEAD").strip()
    lines = place.run("events", "--json", "--subject", "Worker/lin-01").expect(0).out.splitlines()[1:]
    (removal,) = (event for event in map(json.loads, lines) if event["action"] == "remove")
    shown = place.run("why", "Worker/lin-01").expect(0).out.splitlines()
    assert shown[0] == (
        f"Worker/lin-01 is not applied any more: {removal['actor']} removed it at {removal['at']}, "
        f"by the commit {head[:12]}"
    )
    assert [line.partition(": ")[2].partition(" by ")[0] for line in shown[1:]] == ["create", "remove"]
    assert place.run("why", "lin-01").expect(0).out.splitlines() == shown


def test_why_of_an_object_that_the_working_tree_removed(place: Workplace) -> None:
    place.apply("--max-removals", "100%")
    shown = place.run("why", "Worker/lin-01").expect(0).out
    assert re.match(r"Worker/lin-01 is not applied any more: \S+ removed it at \S+Z, from the working tree\n", shown)


def test_what_was_applied_again_is_as_it_is_and_what_never_was_has_no_remover(place: Workplace) -> None:
    place.apply("--max-removals", "100%")
    place.write("worker.yaml", worker("lin-01", "linux"))
    place.apply()
    assert place.run("why", "Worker/lin-01").expect(0).out.startswith("Worker/lin-01 is declared at worker.yaml:")
    said = place.run("why", "Worker/lin-02").expect(1)
    assert said.err == ('Error: Worker/lin-02 is not applied; did you mean "Worker/lin-01"?\n  see: reconcile status\n')
