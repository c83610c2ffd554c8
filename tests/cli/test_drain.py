"""`drain --live` and `undrain` without an engine: what they say, and where a drained worker is shown."""

import json
import re
from pathlib import Path

import pytest

from reconciler.model.live import Override
from reconciler.store import overrides
from tests.cli.workplace import POOL, Outcome, Workplace, worker

DRAIN = ("--live", "--reason", "disk\nswap")
PLAN = r"Worker/worker-1 is draining by order of \S+@\S+ until \S+Z: disk swap \(live override, which a plan leaves as it is\)"


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path / "space")
    made.write("pool.yaml", POOL % "blue")
    made.write("worker.yaml", worker("worker-1", "blue"))
    made.commit()
    made.apply()
    return made


def standing(place: Workplace) -> Override | None:
    with place.store() as store:
        return store.read_now(lambda tx: overrides.of(tx, "worker-1", 0.0))


def drained(place: Workplace, *more: str) -> Outcome:
    return place.run("drain", "worker-1", *DRAIN, *more).expect(0)


def test_a_drain_is_shown_wherever_the_worker_is_and_changes_no_plan(place: Workplace) -> None:
    digest = digest_of(place)
    said = drained(place)
    override = standing(place)
    assert override is not None
    assert override.until - override.since == pytest.approx(86_400.0)
    until = override.words.split()[5].rstrip(":")
    assert said.out == f"worker-1 takes nothing new until {until}; what runs there goes on\n"
    words = f"by order of {override.by} until {until}: disk swap"
    for shown in (place.run("get", "workers").out, place.run("status").out):
        assert f"unknown, drained {words}\n" in shown
    assert words in place.run("status", "--json").out
    (line,) = [line for line in place.run("why", "Worker/worker-1").out.splitlines() if "live override" in line]
    assert re.fullmatch(re.escape(f"it is draining {words} (live override since ") + r"\S+Z\)", line)
    plan = place.run("plan", "--detailed-exitcode").expect(0)
    assert "No changes." in plan.out
    assert re.search(rf"^Live: {PLAN}$", plan.out, re.MULTILINE), plan.out
    assert digest_of(place) == digest


def digest_of(place: Workplace) -> object:
    records = [json.loads(line) for line in place.run("plan", "--json").out.splitlines()]
    return next(record["digest"] for record in records if record["type"] == "summary")


def test_a_second_drain_moves_the_end(place: Workplace) -> None:
    first = drained(place, "--until", "90m")
    until = first.out.split()[5].rstrip(";")
    said = drained(place, "--until", "2h").out
    assert re.fullmatch(rf"worker-1 stays drained until \S+Z, no longer until {until}\n", said)


def test_undrain_gives_it_work_again_and_all_of_it_is_recorded(place: Workplace) -> None:
    drained(place)
    assert (
        place.run("undrain", "worker-1").expect(0).out == "ended the live override of worker-1; it takes work again\n"
    )
    assert standing(place) is None
    assert "drain" not in place.run("get", "workers").out
    shown = place.run("events").out
    assert re.search(r"drain +Worker/worker-1 .*until \S+Z: disk swap", shown), shown
    assert re.search(r"undrain +Worker/worker-1", shown), shown


def test_git_that_says_the_same_ends_it_with_the_apply(place: Workplace) -> None:
    drained(place)
    place.write("worker.yaml", worker("worker-1", "blue").replace("pools:", "state: draining, pools:"))
    place.commit()
    place.apply()
    assert standing(place) is None
    assert "ends: Git declares that it is draining" in place.run("events").out
    assert "unknown, drained\n" in place.run("get", "workers").out


def test_a_renamed_worker_stays_drained(place: Workplace) -> None:
    drained(place)
    place.write(
        "worker.yaml", worker("worker-1", "blue").replace("{name: worker-1}", "{name: worker-2, renamedFrom: worker-1}")
    )
    place.commit()
    place.apply()
    assert re.search(r"^worker-2 .*drained by order", place.run("get", "workers").out, re.MULTILINE)
