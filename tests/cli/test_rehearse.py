"""`rehearse` prints what the declared fleet would make of the deployments, word for word, and the same each time."""

import json
import re

import pytest

from tests.cli.workplace import DEPLOYMENT, ENVIRONMENT, MANUAL, POOL, Outcome, Workplace, reconcile, worker

PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: %s}
spec:
  environments: [test]
  process:
    - name: Build
      location: {runOn: workerPool, pool: web}
      script: {syntax: sh, body: "true"}
    - name: Deploy
      location: {runOn: workerPool, pool: web}
      script: {syntax: sh, body: "true"}
"""
AFTER = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: last}
spec: {project: shop, environment: stage, release: "1", after: [%s]}
"""


@pytest.fixture
def fleet(place: Workplace) -> Workplace:
    """Declare two projects whose steps share a pool of one worker with one slot."""
    place.write("pool.yaml", POOL % "web")
    place.write("worker.yaml", worker("web-01", "web").replace("spec: {", "spec: {slots: 1, "))
    place.write("project.yaml", PROJECT % "shop")
    place.write("blog.yaml", PROJECT % "blog" + "---\n" + DEPLOYMENT % ("blog-test", "blog", "1"))
    return place


def rehearse(place: Workplace, *arguments: str) -> Outcome:
    return place.run("rehearse", *arguments).expect(0)


def records(outcome: Outcome) -> list[dict[str, object]]:
    first, *rest = map(json.loads, outcome.out.splitlines())
    assert first == {"type": "version", "format_version": "1.0"}
    return rest


def test_a_timeline_waits_and_usage_are_printed(fleet: Workplace) -> None:
    assert rehearse(fleet, "--duration", "Build=10s", "--duration", "shop/Deploy=1m").out == (
        "Rehearsal of 2 tasks with 4 steps, seed 0: everything has ended after 1m50s.\n"
        "Durations: 3 steps as told, 1 step by default (30s).\n"
        "\n"
        "TASK       WORKER  QUEUED  BEGAN  ENDED  0s                                                    1m50s\n"
        "blog-test          0s      0s     50s    ──────────────────────────\n"
        "  Build    web-01  0s      0s     10s    █████\n"
        "  Deploy   web-01  10s     20s    50s         ·····████████████████\n"
        "shop-test          0s      0s     1m50s  ───────────────────────────────────────────────────────────\n"
        "  Build    web-01  0s      10s    20s    ·····█████\n"
        "  Deploy   web-01  20s     50s    1m50s            ················█████████████████████████████████\n"
        "\n"
        "WAITING  TASKS  P50  P95  MAX  STEPS  P50   P95  MAX\n"
        "blog         1   0s   0s   0s      2   5s  9.5s  10s\n"
        "shop         1   0s   0s   0s      2  20s   29s  30s\n"
        "\n"
        "POOL  WORKERS  SLOTS  STEPS  PEAK  USED\n"
        "web         1      1      4     1  100%\n"
    )


def test_one_seed_prints_the_same_bytes(fleet: Workplace) -> None:
    given = ("--duration", "Build=5s..50s", "--default-duration", "1s..1m", "--workers", "web=+1", "--repeat", "3")
    for form in ("text", "json"):
        first, second, other = (
            rehearse(fleet, *given, "--format", form, "--seed", seed).out for seed in ("7", "7", "8")
        )
        assert first == second
        assert first != other


def test_the_real_command_prints_the_same_bytes_whatever_its_hashes_are(fleet: Workplace) -> None:
    given = ("rehearse", "--seed", "7", "--duration", "Build=5s..50s", "--json")
    first, second = (fleet.process(*given, PYTHONHASHSEED=seed).expect(0).out for seed in ("1", "2"))
    assert first == second


def test_what_if_is_answered_beside_the_fleet_as_it_is_declared(fleet: Workplace) -> None:
    found = rehearse(fleet, "--workers", "web=+1").out
    assert found.endswith(
        "\n"
        "With 1 more worker in web, everything has ended after 1m instead of 2m: 50% sooner.\n"
        "\n"
        "WHAT IF                     AS DECLARED  CHANGED\n"
        "tasks that can run                    2        2\n"
        "everything has ended after           2m       1m\n"
        "tasks wait, p95                      0s       0s\n"
        "steps wait, p50                     30s       0s\n"
        "steps wait, p95                     30s       0s\n"
        "steps wait, max                     30s       0s\n"
    )
    assert "web-new-1" in found


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        (("web=+5",), "With 5 more workers in web, everything has ended after 1m instead of 2m: 50% sooner."),
        (("web=1",), "With 1 worker in web, everything has ended after 2m, as without."),
        (("web==1",), ""),
        (("web=+1", "web=-1"), "With 1 more worker in web and 1 fewer worker in web, everything has ended after 2m, as without."),
        (("web=0",), "With no workers in web, 0 tasks can run instead of 2."),
    ],
)  # fmt: skip
def test_each_change_has_its_sentence(fleet: Workplace, workers: tuple[str, ...], sentence: str) -> None:
    options = [word for each in workers for word in ("--workers", each)]
    if not sentence:
        assert fleet.run("rehearse", *options).code == 1
    else:
        assert f"\n{sentence}\n" in rehearse(fleet, *options).out


def test_later_is_said_as_such(fleet: Workplace) -> None:
    fleet.write("more.yaml", worker("web-02", "web").replace("spec: {", "spec: {slots: 1, "))
    assert "after 2m instead of 1m: 100% later.\n" in rehearse(fleet, "--workers", "web=-1").out


def test_several_seeds_are_summed_up(fleet: Workplace) -> None:
    found = rehearse(fleet, "--repeat", "3", "--seed", "4", "--duration", "Build=10s..20s").out
    pattern = (
        r"3 rehearsals of 2 tasks with 4 steps, seeds 4 to 6: "
        r"everything has ended after \S+ \(median; \S+ to \S+\)\.\n"
    )
    assert re.match(pattern, found)


def test_what_ran_before_takes_as_long_as_it_took(place: Workplace) -> None:
    place.apply()
    assert rehearse(place).out == (
        "Rehearsal of nothing: no declared deployment would run; see them all with: --tasks all\n"
    )
    assert "\nDurations: 1 step as recorded.\n" in rehearse(place, "--tasks", "all").out
    assert "\nDurations: 1 step as told.\n" in rehearse(place, "--tasks", "all", "--duration", "Work=1s").out
    (found,) = [each for each in records(rehearse(place, "--tasks", "all", "--json")) if each["type"] == "duration"]
    assert (found["project"], found["step"], found["source"]) == ("shop", "Work", "recorded")
    assert 0 < found["p50"] < 30
    place.release("2")
    assert rehearse(place).out.startswith("Rehearsal of 1 task with 1 step, seed 0: ")


def test_a_step_is_told_by_its_project_before_by_its_name(fleet: Workplace) -> None:
    given = ("--duration", "blog/Build=1s", "--duration", "Build=2s", "--duration", "deploy=3s", "--json")
    found = [each for each in records(rehearse(fleet, *given)) if each["type"] == "duration"]
    assert [(each["project"], each["step"], each["p50"]) for each in found] == [
        *(("blog", "Build", 1.0), ("blog", "Deploy", 3.0), ("shop", "Build", 2.0), ("shop", "Deploy", 3.0))
    ]


def test_records_hold_every_event_in_order(fleet: Workplace) -> None:
    found = records(rehearse(fleet, "--json", "--workers", "web=+1"))
    assert [each["type"] for each in found if each["type"] != "event"] == [
        *("rehearsal", "asDeclared", "whatIf", *["duration"] * 4, "wait", "wait", "pool", "worker", "worker")
    ]
    assert found[0] == {
        "type": "rehearsal",
        "seeds": [0],
        "tasks": 2,
        "steps": 4,
        "makespans": [60.0],
        "taskWaits": {"count": 2, "p50": 0.0, "p95": 0.0, "max": 0.0},
        "stepWaits": {"count": 4, "p50": 0.0, "p95": 0.0, "max": 0.0},
    }
    events = [each for each in found if each["type"] == "event"]
    assert [each["at"] for each in events] == sorted(each["at"] for each in events)
    assert [(each["at"], each["what"], each.get("step"), each.get("worker")) for each in events if each["task"] == "shop-test"] == [
        (0.0, "queued", None, None),
        (0.0, "began", None, None),
        (0.0, "waiting", "Build", None),
        (0.0, "running", "Build", "web-new-1"),
        (30.0, "succeeded", "Build", "web-new-1"),
        (30.0, "waiting", "Deploy", None),
        (30.0, "running", "Deploy", "web-new-1"),
        (60.0, "succeeded", "Deploy", "web-new-1"),
        (60.0, "succeeded", None, None),
    ]  # fmt: skip
    assert found[-1] == {"type": "worker", "name": "web-new-1", "slots": 1, "steps": 2, "seconds": 60.0, "share": 1.0}
    assert found[-3] == {
        "type": "pool", "name": "web", "slots": 2, "steps": 4, "seconds": 120.0, "share": 1.0, "workers": 2, "peak": 2,
    }  # fmt: skip


def test_what_fails_is_told_with_what_comes_after_it(fleet: Workplace) -> None:
    fleet.write("stage.yaml", ENVIRONMENT % "stage" + "---\n" + AFTER % "shop-test")
    fleet.write("project.yaml", (PROJECT % "shop").replace("[test]", "[test, stage]"))
    found = rehearse(fleet, "--fail", "shop/Build").out
    assert found.startswith(
        "Rehearsal of 3 tasks with 3 steps, seed 0: 2 of 3 tasks have ended after 1m30s.\n"
        "Durations: 3 steps by default (30s).\n"
        "Not done: last: shop-test has not succeeded before it\n"
        'Not done: shop-test: "Build" failed\n'
    )
    assert re.search(r'\n  Deploy +– +– +– +skipped: "Build" failed before it\n', found)
    assert re.search(r"\nlast +– +– +– +waits: shop-test has not succeeded before it\n", found)
    assert re.search(r"\nlast +2m +2m +3m +─+\n", rehearse(fleet).out)
    failed = [each for each in records(rehearse(fleet, "--fail", "build", "--json")) if each["type"] == "notDone"]
    assert [each["task"] for each in failed] == ["blog-test", "last", "shop-test"]


def test_what_nobody_can_run_is_left_out_with_what_comes_after_it(fleet: Workplace) -> None:
    fleet.write("stage.yaml", ENVIRONMENT % "stage" + "---\n" + AFTER % "blog-test")
    fleet.write("project.yaml", (PROJECT % "shop").replace("[test]", "[test, stage]"))
    wanting = (PROJECT % "blog").replace("pool: web}", "pool: web}\n      requires: {docker: '>=20'}")
    fleet.write("blog.yaml", wanting + "---\n" + DEPLOYMENT % ("blog-test", "blog", "1"))
    found = rehearse(fleet).out
    assert (
        'Left out: blog-test: nobody can run the step "Build": no worker of the pool web can take it: '
        "web-01 has no docker\nLeft out: last: blog-test is left out before it\n"
    ) in found
    assert found.startswith("Rehearsal of 1 task with 2 steps, seed 0: everything has ended after 1m.\n")
    nothing = rehearse(fleet, "--workers", "web=0").out
    assert nothing.startswith("Rehearsal of nothing: every deployment is left out.\nLeft out: blog-test: ")
    assert "With no workers in web, 0 tasks can run instead of 1.\n" in nothing


def test_a_person_answers_at_once_or_as_told(place: Workplace) -> None:
    place.write("project.yaml", (place.root / "project.yaml").read_text() + MANUAL)
    found = rehearse(place).out
    assert "everything has ended after 30s.\nDurations: 1 step by default (30s), 1 step answered at once.\n" in found
    assert re.search(r"\n  Ask +a person +30s +30s +30s +─\n", found)
    assert "everything has ended after 5m30s." in rehearse(place, "--duration", "Ask=5m").out


def test_the_built_in_worker_has_no_bound(place: Workplace) -> None:
    assert rehearse(place).out.endswith(
        "\nPOOL     WORKERS     SLOTS  STEPS  PEAK  USED\ndefault        1  no bound      1     1     –\n"
    )


def test_many_tasks_are_summed_up_and_the_way_to_all_is_said(place: Workplace) -> None:
    tenants = [f"t{number:02}" for number in range(41)]
    kind = "apiVersion: reconciler/v1\nkind: Tenant\nmetadata: {name: %s}\nspec: {projects: {shop: [test]}}\n"
    place.write("tenants.yaml", "---\n".join(kind % name for name in tenants))
    deployment = (place.root / "deployment.yaml").read_text()
    place.write("deployment.yaml", deployment.replace("spec: {", f"spec: {{tenants: [{', '.join(tenants)}], "))
    found = rehearse(place).out
    assert "\nThe timeline of more than 40 tasks is not drawn; see it with: --format json\n" in found
    assert "shop-test@t00" not in found
    assert len([each for each in records(rehearse(place, "--json")) if each.get("what") == "began"]) == 41


def test_no_line_of_a_chart_is_wider_than_100_columns(fleet: Workplace) -> None:
    long = "a" * 40
    fleet.write("blog.yaml", PROJECT % long + "---\n" + DEPLOYMENT % (long, long, "1"))
    fleet.write("worker.yaml", worker("w" * 40, "web"))
    for line in rehearse(fleet, "--fail", "Build", "--default-duration", "100ms").out.splitlines():
        assert len(line) <= 100
    assert "a…" in rehearse(fleet).out


def test_nothing_is_written(fleet: Workplace) -> None:
    rehearse(fleet)
    assert not fleet.data.exists()


def test_help_says_what_is_rehearsed() -> None:
    assert "on virtual time. Nothing is run or written." in " ".join(reconcile("rehearse", "--help").out.split())


def test_of_many_that_are_left_out_the_first_are_named(fleet: Workplace) -> None:
    wants = PROJECT.replace("environments: [test]", "description: wants docker").replace(
        "pool: web}", "pool: web, requires: {docker: '*'}}", 1
    )
    fleet.write("tools.yaml", wants % "tools")
    for number in range(12):
        stage = f"stage-{number:02}"
        fleet.write(f"{stage}.yaml", ENVIRONMENT % stage)
        deployment = DEPLOYMENT % (f"tools-{number:02}", "tools", "1")
        fleet.write(f"tools-{number:02}.yaml", deployment.replace("environment: test", f"environment: {stage}"))
    found = rehearse(fleet).out.splitlines()
    assert sum(line.startswith("Left out: tools-") for line in found) == 10
    assert "Left out: 2 tasks more; see them with: --format json" in found
