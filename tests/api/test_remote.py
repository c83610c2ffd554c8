"""Commands at a server: the same words, records and exit codes as beside the state."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import ActorKind
from reconciler.store import audit
from tests.api.cutting import cutting
from tests.api.premises import PATIENCE, Premises, premises, until
from tests.cli.workplace import MANUAL, POOL, PROJECT, RECONCILE, Workplace, environment, reconcile, worker

READING = (
    ("status",),
    ("status", "--json"),
    ("get", "projects"),
    ("get", "project", "shop"),
    ("get", "workers"),
    ("get", "workers", "--json"),
    ("get", "environments", "--json"),
    ("tasks",),
    ("tasks", "--json", "--state", "succeeded"),
    ("tasks", "--limit", "1"),
    ("logs", "1"),
    ("logs", "1", "--json"),
    ("logs", "shop-test", "--step", "Work"),
    ("logs", "1", "-f"),
    ("events",),
    ("events", "--json", "--subject", "task/1"),
    ("events", "--after", "2", "--limit", "3"),
    ("audit", "list", "--limit", "3"),
    ("audit", "list", "--subject", "task/1", "--actor", "nobody"),
    ("audit", "list", "--since", "1h", "--until", "2030-01-31T06:00Z"),
    ("audit", "export"),
    ("audit", "export", "--subject", "task/1", "--until", "2030-01-31T06:00Z"),
    ("audit", "verify"),
    ("snapshot", "--key"),
    ("artifacts", "1"),
    ("artifacts", "shop-test", "--json"),
    ("artifacts", "1", "other.txt"),
    ("artifacts", "99"),
    ("why", "Project/shop"),
    ("why", "task/1", "--json"),
    ("explain", "Work", "--environment", "test"),
    ("explain", "Work", "--environment", "test", "--json"),
    ("plan",),
    ("plan", "--json"),
    ("plan", "--format", "markdown", "--detailed-exitcode"),
    ("rehearse", "--tasks", "all"),
    ("rehearse", "--tasks", "all", "--seed", "3", "--repeat", "2", "--json"),
    ("rehearse", "--tasks", "all", "--workers", "blue=+2", "--duration", "Work=5s..9s", "--fail", "Work"),
    ("rehearse", "--workers", "nothing=+2"),
    ("drift",),
    ("drift", "--json"),
    ("token", "list"),
    ("token", "list", "--json"),
    ("trust", "show"),
    ("trust", "show", "--json"),
    ("trust", "show", "--ca"),
    ("trust", "show", "--pin"),
    ("access", "list"),
    ("access", "list", "--json"),
    ("access", "revoke", "nobody"),
    ("events", "--after", "4711"),
    ("get", "project", "nothing"),
    ("get", "nothing"),
    ("why", "Project/nothing"),
    ("logs", "99"),
    ("logs", "No such"),
    ("logs", "shop@tst"),
    ("why", "nonsense"),
    ("get", "wrkr"),
    ("logs", "1", "--step", "Nothing"),
    ("explain", "Nothing", "--environment", "test"),
)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Serve a shop with a worker, a token, and a task that has ended; nobody changes anything after that."""

    def declare(work: Workplace) -> None:
        work.write("pools.yaml", POOL % "blue")
        work.write("workers.yaml", worker("blue-1", "blue"))

    body = "for i in 1 2 3; do echo line $i; done; log_level warning; echo careful; printf rest; seq 99999 > f; add_artifact f numbers.txt"
    with premises(tmp_path_factory.mktemp("busy"), body, declare=declare) as found:
        token = found.token("administrator", name="reader")
        until(lambda: found.get("/tasks/1", token).expect(200)["task"]["state"] == "succeeded", "the end of the task")
        until(lambda: found.get("/conditions", token).expect(200)["conditions"][0]["status"], "readiness")
        found.post("/tokens", token, {"worker": "blue-2", "pools": ["blue"]}).expect(200)
        found.reader = token
        yield found


def settled(text: str) -> str:
    """Return an output without how long ago something was."""
    return re.sub(r"\b\d+ (s|min)\b( ago)?", "SPAN", text)


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_server_says_what_the_state_says(busy: Premises, arguments: tuple[str, ...]) -> None:
    code, out, err = busy.at_server(busy.reader, *arguments)
    beside = reconcile(*arguments, "-C", busy.work.root)
    assert (code, settled(out)) == (beside.code, settled(beside.out))
    assert settled(err) == settled(beside.err)
    assert out or err


def test_waiting_for_a_commit_is_the_same(busy: Premises) -> None:
    head = busy.work.git("rev-parse", "HEAD").strip()
    code, out, _ = busy.at_server(busy.reader, "wait", "--commit", head[:9])
    assert (code, out) == (0, busy.work.run("wait", "--commit", head[:9]).expect(0).out)


def test_a_plan_of_a_commit_by_name_is_the_plan_of_that_commit(busy: Premises) -> None:
    before = busy.work.git("rev-parse", "HEAD").strip()
    busy.work.git("checkout", "--quiet", "-b", "wish")
    try:
        busy.work.write("pools.yaml", f"{POOL % 'blue'}---\n{POOL % 'green'}")
        busy.work.commit()
        wish = busy.work.git("rev-parse", "HEAD").strip()
    finally:
        busy.work.git("checkout", "--quiet", "-f", before)
    assert busy.work.git("rev-parse", "HEAD").strip() == before
    code, out, _ = busy.at_server(busy.reader, "plan", "--rev", wish, "--max-removals", "100%")
    assert "WorkerPool/green" in out
    local = busy.work.run("plan", "--rev", wish, "--max-removals", "100%")
    assert (code, out) == (local.code, local.out)


def test_a_snapshot_of_a_server_is_what_a_plan_goes_by(busy: Premises, tmp_path: Path) -> None:
    file, keys = tmp_path / "snapshot.json", tmp_path / "keys.pem"
    said = f"Saved to {file}. Plan by it with: reconcile plan --snapshot {file}\n"
    assert busy.at_server(busy.reader, "snapshot", "--out", file) == (0, "", said)
    assert busy.at_server(busy.reader, "snapshot", "--key", "--out", keys) == (0, "", "")
    busy.work.write("pools.yaml", f"{POOL % 'blue'}---\n{POOL % 'green'}")
    try:
        by_snapshot = busy.work.run("plan", "--snapshot", file, "--snapshot-key", keys).expect(0)
        assert by_snapshot.out.startswith(busy.work.run("plan").expect(0).out.partition("\nLive: ")[0])
    finally:
        busy.work.git("checkout", "--quiet", "--", "pools.yaml")
    assert "WorkerPool/green" in by_snapshot.out
    assert "Warning" not in by_snapshot.err


def test_the_key_of_snapshots_is_made_once_by_whoever_is_first(tmp_path: Path) -> None:
    with premises(tmp_path) as found:
        viewer, auditor = found.token("viewer"), found.token("auditor")

        def keys_made() -> int:
            events = found.get("/events", auditor).expect(200)["items"]
            return sum(event["action"] == "trust make" for event in events)

        before = keys_made()
        made = [found.get(f"/snapshot{end}", viewer) for end in ("", "/keys", "")]
        assert [reply.status for reply in made] == [200, 200, 200]
        assert made[0].headers["content-type"] == "application/x-ndjson"
        assert made[1].body.decode() == found.work.run("snapshot", "--key").expect(0).out
        assert keys_made() == before + 1


def test_an_exported_file_is_verified_without_a_server(
    busy: Premises, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "audit.jsonl"
    code, out, _ = busy.at_server(busy.reader, "audit", "export")
    file.write_text(out)
    monkeypatch.setenv("RECONCILE_SERVER", "http://127.0.0.1:1")
    assert code == 0
    assert (
        reconcile("audit", "verify", file).expect(0).out
        == reconcile("audit", "verify", "-C", busy.work.root).expect(0).out
    )


def test_the_environment_names_server_and_token(busy: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILE_SERVER", busy.url)
    monkeypatch.setenv("RECONCILE_TOKEN", busy.reader)
    assert reconcile("tasks").expect(0).out.count("shop-test") == 1
    assert busy.work.run("tasks").expect(0).out.count("shop-test") == 1, "-C is meant as it is written"


def test_an_artifact_comes_whole_or_not_at_all(busy: Premises, tmp_path: Path) -> None:
    numbers = "".join(f"{number}\n" for number in range(1, 100_000))
    target = tmp_path / "here"
    assert busy.at_server(busy.reader, "artifacts", "1", "numbers.txt", "--out", target) == (0, "", f"wrote {target}\n")
    assert target.read_text() == numbers
    with cutting(busy.address, 20_000) as (address, _):
        url = f"http://{address}"
        said = reconcile("artifacts", "1", "numbers.txt", "--out", tmp_path / "cut", "--server", url, *_token(busy))
    assert said.expect(3).err == f"Error: {url} has not sent the whole file\n  run the command again\n"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def _token(found: Premises) -> tuple[str, Path]:
    file = found.work.root.parent / "token"
    file.write_text(found.reader)
    return "--token-file", file


def test_nothing_but_the_server_is_read(busy: Premises, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = busy.at_server(busy.reader, "status")
    assert code == 0
    assert out.startswith("Space shop at ")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Premises]:
    """Serve a shop whose task waits for a person."""

    def declare(work: Workplace) -> None:
        work.write("pools.yaml", POOL % "blue")
        work.write("workers.yaml", worker("blue-1", "blue"))
        work.write("project.yaml", PROJECT % ("shop", "echo ready") + MANUAL)

    with premises(tmp_path, declare=declare) as found:
        found.reader = found.token("administrator", name="boss")
        until(lambda: state(found) == "awaitingIntervention", "the question")
        yield found


def state(found: Premises, task: int = 1) -> str:
    said: str = found.get(f"/tasks/{task}", found.reader).expect(200)["task"]["state"]
    return said


def test_people_decide_at_a_server_and_the_audit_names_the_token(asking: Premises) -> None:
    def order(*arguments: str) -> str:
        code, out, err = asking.at_server(asking.reader, *arguments)
        assert code == 0, err
        return out

    assert order("reject", "shop-test", "--notes", "not yet") == 'rejected "Ask" of task 1 (shop-test)\n'
    until(lambda: state(asking) == "failed", "the end")
    assert order("retry", "1").startswith("queued task 2 (shop-test)")
    until(lambda: state(asking, 2) == "awaitingIntervention", "the question")
    assert order("cancel", "2").startswith("task 2 (shop-test) is being cancelled")
    until(lambda: state(asking, 2) == "cancelled", "the end")
    assert order("drain", "blue-1", "--live", "--reason", "disk", "--until", "1h").startswith(
        "blue-1 takes nothing new"
    )
    assert order("undrain", "blue-1", "--live") == "ended the live override of blue-1; it takes work again\n"
    assert order("suspend", "--reason", "tests", "--until", "1h").startswith("suspended until ")
    assert order("resume") == "resumed: the head is judged again\n"
    assert order("token", "create", "--worker", "blue-2", "--pool", "blue").startswith("rct1.")
    made = json.loads(order("token", "list", "--json").splitlines()[1])["token"]
    assert order("token", "revoke", made) == f"revoked the token {made} for blue-2\n"
    assert order("revoke", "blue-1", "--reason", "stolen").startswith("revoked SHA256:")
    assert order("revoke", "blue-1", "--lift").startswith("lifted the revocation of SHA256:")
    code, _, err = asking.at_server(asking.reader, "release", "blue-1", "--reason", "it burnt")
    assert (code, err.splitlines()[0]) == (
        1,
        'Error: nothing is held by an attempt "blue-1", or on a worker of that name',
    )
    verbs = [
        "reject",
        "retry",
        "cancel",
        "drain",
        "undrain",
        "suspend",
        "resume",
        "token create",
        "token revoke",
        "revoke",
        "lift",
    ]
    controller = asking.service.post.controller
    assert controller is not None
    told = [event for event in controller.engine.store.read_now(audit.events) if event.actor == "boss"]
    assert [event.action for event in told] == verbs
    assert {event.kind for event in told} == {ActorKind.TOKEN}
    assert {event.origin for event in told} == {"API from 127.0.0.1"}


def test_apply_at_a_server_has_it_look_and_waits_for_the_head(asking: Premises) -> None:
    asking.at_server(asking.reader, "approve", "1")
    until(lambda: state(asking) == "succeeded", "the end")
    before, gate = asking.work.git("rev-parse", "HEAD").strip()[:12], asking.work.root.parent / "gate"
    asking.work.write("project.yaml", PROJECT % ("shop", f"until test -e {gate}; do sleep 0.05; done"))
    asking.work.release("2")
    asking.work.commit()
    head = asking.work.git("rev-parse", "HEAD").strip()[:12]
    file = asking.work.root.parent / "token"
    file.write_text(asking.reader)
    command = [RECONCILE, "apply", "--server", asking.url, "--token-file", file]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe, text=True) as apply:
        assert apply.stderr is not None
        told = apply.stderr.readline()
        if told != (running := f"{head}: under way: 1 task under way\n"):
            assert told == f"{head}: under way: the source is at {before}, which does not hold it yet\n"
            assert apply.stderr.readline() == running
        gate.touch()
        out, err = apply.communicate(timeout=PATIENCE)
    assert (apply.returncode, out, err) == (0, f"{head}: everything is as {head} declares it\n", "")
    asking.work.write("project.yaml", PROJECT % ("shop", "exit 3"))
    asking.work.release("3")
    asking.work.commit()
    code, _, err = asking.at_server(asking.reader, "apply")
    assert code == 6, err
    assert "failed" in err


def test_nobody_waits_at_a_server_for_the_end_of_a_suspension_that_comes_later(asking: Premises) -> None:
    def told(*arguments: str) -> str:
        code, out, err = asking.at_server(asking.reader, *arguments)
        assert (code, out) == (7, "")
        return err

    asking.at_server(asking.reader, "approve", "1")
    until(lambda: state(asking) == "succeeded", "the end")
    code, said, _ = asking.at_server(asking.reader, "suspend", "--reason", "quarter end", "--until", "2h")
    assert code == 0
    end = said.removeprefix("suspended until ").partition(": ")[0]
    asking.work.release("2")
    asking.work.commit()
    head = asking.work.git("rev-parse", "HEAD").strip()
    sentence = f"{head[:12]}: suspended by boss until {end}: quarter end; end it with: reconcile resume\n"
    assert told("apply") == sentence
    assert told("wait", "--commit", head) == sentence
    assert told("wait", "--commit", head, "--timeout", "5s") == sentence
    _, shown, _ = asking.at_server(asking.reader, "status")
    assert f"\nStalled True, Suspended: {sentence.partition(': ')[2]}" in shown
    assert "\nSuspended by" not in shown, "it is told once"


def test_a_commit_is_called_as_the_checkout_calls_it_in_which_the_command_is_run(
    busy: Premises, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = busy.work.git("rev-parse", "HEAD").strip()
    busy.work.git("tag", "v1.0")
    busy.work.git("branch", "stable")
    monkeypatch.chdir(busy.work.root)
    for name in ("HEAD", "v1.0", "stable", head[:6]):
        code, out, err = busy.at_server(busy.reader, "wait", "--commit", name)
        assert (code, out, err) == (0, f"{head[:12]}: everything is as {head[:12]} declares it\n", "")
    unknown = 'Error: a server does not know what "{}" is\n  name the commit by at least 7 of its hexadecimal digits\n'
    assert busy.at_server(busy.reader, "wait", "--commit", "v2.0") == (1, "", unknown.format("v2.0"))
    monkeypatch.chdir(tmp_path)
    assert busy.at_server(busy.reader, "wait", "--commit", "HEAD") == (1, "", unknown.format("HEAD"))


def test_following_goes_on_where_the_connection_breaks(asking: Premises) -> None:
    """The command that follows outlives its connection; what it prints is whole."""
    file = asking.work.root.parent / "token"
    file.write_text(asking.reader)
    with cutting(asking.address, every=700) as (address, cuts):
        command = [RECONCILE, "logs", "1", "-f", "--server", f"http://{address}", "--token-file", file]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as follower:
            answered = threading.Timer(1.0, lambda: asking.at_server(asking.reader, "approve", "1"))
            answered.start()
            out, _ = follower.communicate(timeout=PATIENCE)
            answered.join()
    assert cuts.count > 0
    assert out == asking.work.run("logs", "1").expect(0).out
