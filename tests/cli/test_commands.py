"""What each command prints: text for people, records for programs."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.workplace import ENVIRONMENT, MANUAL, POOL, PROJECT, Outcome, Workplace, reconcile, worker

VERSION = {"type": "version", "format_version": "1.0"}
BODY = "echo hello; echo oops >&2; echo kept > file; add_artifact file kept.txt"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Make a repository whose first release has run; the tests that share it only read."""
    place = Workplace(tmp_path_factory.mktemp("done") / "space")
    place.declare_shop(BODY)
    place.write("pool.yaml", POOL % "linux")
    place.write("worker.yaml", worker("lin-01", "linux"))
    place.commit()
    place.apply()
    return place


def settled(text: str) -> str:
    """Return `text` with a word for each thing that differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b", "DIGEST", text)
    text = re.sub(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{7}\b", "DIGEST", text)
    text = re.sub(r"\.yaml:\d+", ".yaml:LINE", text)
    return re.sub(r" {2,}", "  ", re.sub(r"\b\d+ s( ago)?\b", "AGO", text))


def records(outcome: Outcome) -> list[dict[str, object]]:
    """Return the records of a command after the one with their version."""
    first, *rest = map(json.loads, outcome.expect(0).out.splitlines())
    assert first == VERSION
    assert all("type" in record for record in rest)
    return rest


def test_status_of_a_state_to_which_nothing_was_applied(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.store().close()
    assert place.run("status").expect(0).out.startswith("Space unbound, state 0\nnothing is applied\n")


def test_status_shows_space_workers_and_deployments(done: Workplace) -> None:
    assert settled(done.run("status").expect(0).out) == (
        "Space default at DIGEST, state 6\n"
        "1 Deployment, 1 Environment, 1 Project, 1 Worker, 1 WorkerPool\n"
        "\n"
        "WORKER  POOLS  ENDPOINT  STATE\n"
        "built-in  default  built-in  at rest; runs the steps of default\n"
        "lin-01  linux  polling  unknown\n"
        "\n"
        "DEPLOYMENT  SLOT  RELEASE  TASK  STATE  SINCE  REASON\n"
        "shop-test  shop in test  1  1  succeeded  AGO\n"
    )


def test_status_as_json_is_one_document(done: Workplace) -> None:
    shown = json.loads(done.run("status", "--json").expect(0).out)
    assert shown["format_version"] == "1.0"
    assert shown["space"] == "default"
    assert shown["objects"]["Environment"] == 1
    (deployment,) = shown["deployments"]
    assert {key: deployment[key] for key in ("deployment", "release", "task", "state", "current", "adopted")} == {
        "deployment": "shop-test", "release": "1", "task": 1, "state": "succeeded", "current": True, "adopted": False,
    }  # fmt: skip


def test_get_lists_the_objects_of_a_kind(done: Workplace) -> None:
    assert settled(done.run("get", "environments").expect(0).out) == (
        "NAME  DECLARED AT  REVISION  GENERATION\ntest  environment.yaml:LINE  DIGEST  1\n"
    )
    assert done.run("get", "tenants").expect(0).out == "NAME  DECLARED AT  REVISION  GENERATION\n"


def test_get_lists_workers_with_where_they_are(done: Workplace) -> None:
    assert settled(done.run("get", "workers").expect(0).out) == (
        "NAME  POOLS  ENDPOINT  STATE\n"
        "built-in  default  built-in  at rest; runs the steps of default\n"
        "lin-01  linux  polling  unknown\n"
    )


def test_get_shows_one_object_whole(done: Workplace) -> None:
    shown = json.loads(done.run("get", "project", "shop").expect(0).out)
    assert shown["spec"]["environments"] == ["test"]
    (record,) = records(done.run("get", "project", "shop", "--json"))
    assert record == shown
    assert (record["type"], record["kind"], record["file"]) == ("object", "Project", "project.yaml")


def test_tasks_are_listed_with_how_they_ended(done: Workplace) -> None:
    assert settled(done.run("tasks").expect(0).out) == (
        "TASK  DEPLOYMENT  SLOT  RELEASE  STATE  QUEUED  REASON\n1  shop-test  shop in test  1  succeeded  AGO\n"
    )
    (task,) = records(done.run("tasks", "--json", "--state", "succeeded"))
    assert (task["type"], task["task"], task["state"]) == ("task", 1, "succeeded")
    assert records(done.run("tasks", "--json", "--state", "failed")) == []


def test_logs_show_each_step_under_its_heading(done: Workplace) -> None:
    whole = "==> Work on built-in\nhello\noops\n<== Work succeeded\n"
    assert sorted(done.run("logs", "1").expect(0).out.splitlines()) == sorted(whole.splitlines())
    assert done.run("logs", "shop-test", "--follow").expect(0).out == done.run("logs", "1", "--step", "work").out


def test_logs_as_json_tell_streams_apart(done: Workplace) -> None:
    *outputs, step = records(done.run("logs", "1", "--json"))
    assert {(record["stream"], record["text"]) for record in outputs} == {("stdout", "hello\n"), ("stderr", "oops\n")}
    assert step == {"type": "step", "step": 1, "name": "Work", "state": "succeeded", "reason": ""}


def test_artifacts_are_listed_and_fetched(done: Workplace, tmp_path: Path) -> None:
    assert settled(done.run("artifacts", "1").expect(0).out) == (
        "STEP  NAME  BYTES  SHA-256\nwork  kept.txt  5  DIGEST\n"
    )
    (record,) = records(done.run("artifacts", "1", "--json"))
    assert (record["type"], record["name"], record["bytes"]) == ("artifact", "kept.txt", 5)
    fetched = done.run("artifacts", "1", "kept.txt", "--out", tmp_path / "here").expect(0)
    assert (fetched.out, fetched.err) == ("", f"wrote {tmp_path}/here\n")
    assert (tmp_path / "here").read_text() == "kept\n"


def test_events_tell_who_did_what_in_order(done: Workplace) -> None:
    found = records(done.run("events", "--json"))
    assert [(event["action"], event["subject"]) for event in found][:7] == [
        ("bind", "space/default"),
        ("create", "Environment/test"),
        ("create", "WorkerPool/linux"),
        ("create", "Worker/lin-01"),
        ("create", "Project/shop"),
        ("create", "Deployment/shop-test"),
        ("queue", "task/1"),
    ]
    assert [event["event"] for event in found] == list(range(1, len(found) + 1))
    assert len(records(done.run("events", "--json", "--after", "2", "--limit", "3"))) == 3
    shown = settled(done.run("events", "--subject", "Project/shop").expect(0).out).splitlines()
    assert shown[0] == "EVENT  AT  ACTOR  ACTION  SUBJECT  OUTCOME  REVISION  DETAIL"
    assert len(shown) == 2


def test_why_says_where_a_thing_comes_from_and_what_was_done(done: Workplace) -> None:
    first, *rest = settled(done.run("why", "Project/shop").expect(0).out).splitlines()
    assert first == "Project/shop is declared at project.yaml:LINE, applied from DIGEST, generation 1"
    assert "used by Deployment/shop-test" in rest
    step, where = settled(done.run("why", "Project/shop/Work").expect(0).out).splitlines()
    assert step == '"Work" of Project/shop is declared at project.yaml:LINE'
    assert where.startswith("it would run on built-in: ")
    assert "and has succeeded" in done.run("why", "task/1").expect(0).out
    reasons = records(done.run("why", "Project/shop", "--json"))
    assert {reason["type"] for reason in reasons} == {"reason"}


def test_a_file_that_git_does_not_have_is_named_where_it_matters(place: Workplace) -> None:
    commit = place.git("rev-parse", "HEAD").strip()
    place.write("notes.txt", "of no matter")
    shown = place.run("plan").expect(0)
    assert (shown.out.split(" ")[0], shown.err) == (commit[:7], "")
    for number in range(7):
        place.write(f"pool-{number}.yaml", POOL % f"pool-{number}")
    shown = place.run("plan").expect(0)
    assert shown.out.startswith("The working tree asks for these changes:\n")
    names = ", ".join(f"pool-{number}.yaml" for number in range(5))
    assert shown.err == f"This is the working tree and no commit: Git does not have {names} and 2 more\n"


def test_a_plan_as_json_has_records_for_programs(done: Workplace) -> None:
    done.release("2")
    change, run, summary = records(done.run("plan", "--json"))
    done.release("1")
    assert (change["type"], change["address"], change["action"]) == ("change", "Deployment/shop-test", "update")
    assert change["fields"] == [{"path": "release", "before": "1", "after": "2"}]
    assert (run["type"], run["release"], run["former_release"], run["reason"]) == ("run", "2", "1", "changed")
    assert (summary["type"], summary["change"], summary["runs"], summary["empty"]) == ("summary", 1, 1, False)


def test_a_plan_as_markdown_fits_a_pull_request(done: Workplace) -> None:
    done.release("2")
    shown = done.run("plan", "--format", "markdown").expect(0).out
    done.release("1")
    assert shown.startswith("<!-- reconciler plan: default -->\n### Plan: 0 to add, 1 to change")
    assert "```diff\n" in shown


def test_apply_as_json_tells_plan_and_progress_on_stdout(place: Workplace) -> None:
    shown = place.run("apply", "--auto-approve", "--new-state", "--json").expect(0)
    assert shown.err == ""
    kinds = [str(record["type"]) for record in records(shown)]
    assert kinds.index("summary") < kinds.index("applied") < kinds.index("queued") < kinds.index("task")
    assert {"step", "output", "message"} <= set(kinds)


def test_validate_counts_and_locates(done: Workplace, tmp_path: Path) -> None:
    assert done.run("validate").expect(0).out == "5 files read; no errors.\n"
    assert done.run("validate", done.root / "pool.yaml").expect(0).err == ""
    assert records(done.run("validate", "--json")) == []
    bad = Workplace(tmp_path / "bad")
    bad.write("a/one.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: BAD}\n")
    bad.write("b/two.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: ALSO}\n")
    whole = bad.run("validate").expect(1)
    assert "a/one.yaml:3:18: error[bad-name]" in whole.out
    assert whole.err == "2 files read; 2 errors, 0 warnings.\n"
    part = bad.run("validate", bad.root / "b").expect(1)
    assert "one.yaml" not in part.out
    assert part.err == "2 files read; 1 error, 0 warnings.\n"
    shown = bad.run("validate", "--json").expect(1)
    version, first, _ = map(json.loads, shown.out.splitlines())
    assert version == VERSION
    assert (first["type"], first["code"], first["file"], first["line"]) == ("diagnostic", "bad-name", "a/one.yaml", 3)


def test_annotations_name_files_from_the_root_of_the_repository(tmp_path: Path) -> None:
    whole = Workplace(tmp_path / "whole")
    whole.write("infra/one.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: BAD}\n")
    shown = reconcile("validate", "-C", whole.root / "infra", "--format", "github").expect(1)
    assert shown.out.startswith("::error file=infra/one.yaml,line=3,endLine=3,col=18,endColumn=21,title=bad-name::")


def test_a_path_outside_of_the_space_is_refused(done: Workplace, tmp_path: Path) -> None:
    for path in (tmp_path, done.root / "missing.yaml"):
        assert done.run("validate", path).expect(1).err == (
            f"Error: {path} is no file or folder of the space at {done.root}\n  name paths inside of it, or none\n"
        )


def test_a_schema_is_json_and_known_by_its_kind(tmp_path: Path) -> None:
    assert json.loads(reconcile("schema", "worker").expect(0).out)["title"] == "Worker"
    assert "Worker" in json.dumps(json.loads(reconcile("schema").expect(0).out))
    reconcile("schema", "--write", tmp_path).expect(0)
    assert (tmp_path / "all.json").is_file()


def test_init_makes_a_repository_that_plans(tmp_path: Path) -> None:
    made = tmp_path / "new"
    shown = reconcile("init", made).expect(0)
    assert f"wrote {made}/reconcile.yaml\n" in shown.out
    assert shown.err == f"Next: cd {made} && git add -A && git commit -m 'First declarations' && reconcile plan\n"
    assert "\nPlan: " in reconcile("plan", "-C", made).expect(0).out
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert (
        reconcile("init", made)
        .expect(1)
        .err.endswith("reconcile.yaml exists already; nothing was written\n  choose another directory\n")
    )
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    shown = reconcile("init", tmp_path).expect(0)
    assert f"kept {tmp_path}/.gitignore\n" in shown.out
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert "\nPlan: " in reconcile("plan", "-C", tmp_path).expect(0).out


@pytest.fixture
def waiting(tmp_path: Path) -> Workplace:
    """Make a repository whose task waits for a person."""
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL)
    place.apply(expect=7)
    return place


TEAM = """\
apiVersion: reconciler/v1
kind: Team
metadata: {name: dba}
spec: {members: [ada]}
"""
FOLLOWING = "No engine is running; it takes effect with the next: reconcile apply\n"


def test_a_question_is_shown_with_the_teams_that_it_is_put_to(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.write("team.yaml", TEAM)
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL.replace('right?"', 'right?", teams: [dba]'))
    place.apply(expect=7)
    assert "\nTask 1 asks dba: Is it right?\n  answer with: " in place.run("status").expect(0).out


def test_a_question_is_shown_with_its_answers(waiting: Workplace) -> None:
    shown = waiting.run("status").expect(0).out
    assert "\nTask 1 asks: Is it right?\n  answer with: reconcile approve 1, or: reconcile reject 1\n" in shown
    (question,) = json.loads(waiting.run("status", "--json").out)["questions"]
    assert (question["task"], question["instructions"]) == (1, "Is it right?")


def test_an_approved_task_goes_on(waiting: Workplace) -> None:
    said = waiting.run("approve", "1", "--notes", "looks good").expect(0)
    assert (said.out, said.err) == ('approved "Ask" of task 1 (shop-test)\n', FOLLOWING)
    waiting.apply()
    (event,) = (e for e in records(waiting.run("events", "--json")) if e["action"] == "approve")
    assert event["detail"] == "looks good"


def test_where_a_server_follows_the_state_an_answered_task_goes_on_with_it(waiting: Workplace) -> None:
    waiting.commit()
    waiting.follow()
    said = waiting.run("approve", "1").expect(0)
    assert said.err == "No engine is running; it takes effect with the next: reconcile serve\n"


def test_a_rejected_task_fails_and_may_be_retried(waiting: Workplace) -> None:
    assert waiting.run("reject", "shop-test").expect(0).out == 'rejected "Ask" of task 1 (shop-test)\n'
    waiting.apply(expect=6)
    again = waiting.run("retry", "1").expect(0)
    assert again.out == "queued task 2 (shop-test), which repeats task 1 with the same process\n"
    waiting.apply(expect=7)


def test_a_cancelled_task_ends_with_the_next_apply(waiting: Workplace) -> None:
    said = waiting.run("cancel", "1").expect(0)
    assert said.out == "task 1 (shop-test) is being cancelled; what runs is stopped by the engine\n"
    assert waiting.run("cancel", "1").expect(0).out == "task 1 (shop-test) is being cancelled already\n"
    waiting.apply(expect=6)
    assert "cancelled" in waiting.run("tasks").out


@pytest.mark.parametrize(("notes", "why"), [((), ""), (("--notes", "stop it"), ": stop it")], ids=["", "notes"])
def test_whoever_cancelled_a_task_is_named_with_the_notes(waiting: Workplace, notes: tuple[str, ...], why: str) -> None:
    waiting.run("cancel", "1", *notes).expect(0)
    waiting.run("cancel", "1", "--notes", "once more").expect(0)
    failed = waiting.apply(expect=6)
    (actor,) = {e["actor"] for e in records(waiting.run("events", "--json")) if e["action"] == "cancel"}
    sentence = f"cancelled by {actor}{why}"
    assert f"was cancelled at release 1 (task 1: {sentence}); repeat it with: " in failed.out + failed.err
    assert f"  cancelled  AGO  {sentence}\n" in settled(waiting.run("status").expect(0).out)
    assert (
        waiting.run("why", "task/1")
        .expect(0)
        .out.startswith(f"task 1 runs release 1 of shop in test and is cancelled: {sentence}\n")
    )


def test_whoever_cancelled_a_task_in_the_queue_is_named_with_the_notes(waiting: Workplace) -> None:
    waiting.run("reject", "1").expect(0)
    waiting.apply(expect=6)
    waiting.run("retry", "1").expect(0)
    said = waiting.run("cancel", "2", "--notes", "stop  it").expect(0)
    assert said.out == "cancelled task 2 (shop-test), which had not started\n"
    assert re.search(r"is cancelled: cancelled by \S+: stop it\n", waiting.run("why", "task/2").expect(0).out)


def removing_much(folder: Path) -> Workplace:
    """Remove three pools of eight that were applied: more than may leave at once."""
    place = Workplace(folder)
    for number in range(8):
        place.write(f"pool-{number}.yaml", POOL % f"pool-{number}")
    place.apply()
    for number in range(3):
        (place.root / f"pool-{number}.yaml").unlink()
    return place


def test_a_removal_over_the_budget_needs_to_be_told(tmp_path: Path) -> None:
    place = removing_much(tmp_path / "space")
    refused = place.run("plan").expect(5).out
    assert "this plan removes 3 of 8 WorkerPools and maxRemovals 25% allows 2" in refused
    place.run("apply", "--auto-approve").expect(5)
    place.run("apply", "--auto-approve", "--max-removals", "3").expect(0)


def test_who_plans_where_a_server_follows_is_told_how_the_plan_gets_carried_out(tmp_path: Path) -> None:
    place, file = removing_much(tmp_path / "space"), tmp_path / "p.json"
    place.commit()
    assert (
        place.run("plan", "--out", file).expect(5).err == f"\nSaved to {file}. Apply it with: reconcile apply {file}\n"
    )
    place.follow()
    assert place.run("plan", "--out", file).expect(5).err == (
        f"\nSaved to {file}. A server carries out commits, not files\n"
        "Here a server carries out what is committed: a plan that takes too much away waits, "
        "`reconcile status` names it, and `reconcile approve` has it carried out; "
        "what is refused for another reason waits for a commit that mends it\n"
    )


def test_an_isolated_space_applies_the_rest_and_says_5(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    space = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: default}\nspec: {apply: isolated}\n"
    place.write("reconcile.yaml", space)
    place.write("kept.yaml", (ENVIRONMENT % "kept").replace("{name: kept}", "{name: kept, protect: true}"))
    place.apply()
    (place.root / "kept.yaml").unlink()
    place.write("more.yaml", ENVIRONMENT % "more")
    place.run("apply", "--auto-approve").expect(5)
    assert [line.split()[0] for line in place.run("get", "environments").out.splitlines()] == ["NAME", "kept", "more"]
