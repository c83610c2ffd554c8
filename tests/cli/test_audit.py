"""The audit from the command line: what is in it, from whom and where, what it never holds, and how it is checked."""

import asyncio
import json
import os
import pwd
import re
import socket
import time
from pathlib import Path

import pytest

from reconciler.server.engine.control import ControlSocket
from reconciler.server.state.sealing import sealer_of
from reconciler.store import audit
from reconciler.store.directory import DataDirectory, EngineLock
from tests.cli.workplace import DEPLOYMENT, ENVIRONMENT, Outcome, Workplace, reconcile

HOST = socket.gethostname()
ACCOUNT = f"uid {os.getuid()} ({pwd.getpwuid(os.getuid()).pw_name})"
SECRETS = ("planted-in-the-environment-7Qx", "planted-in-a-file-9Zk", "planted-in-an-output-3Vb")
GUARDED = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  environments: [test]
  variables:
    - {name: First, type: sensitive, value: {env: PLANTED}}
    - {name: Second, type: sensitive, value: {file: planted}}
  process:
    - name: Work
      script: {syntax: bash, body: 'echo "$ONE $TWO"; set_output key "%s" --sensitive'}
      env: {ONE: "${{ vars.First }}", TWO: "${{ vars.Second }}"}
"""


def audited(place: Workplace, verb: str, *arguments: str | Path, expect: int = 0) -> Outcome:
    return reconcile("audit", verb, *arguments, "-C", place.root).expect(expect)


def exported(place: Workplace, *arguments: str) -> list[dict[str, object]]:
    """Return the events of an export, without its first line."""
    return [json.loads(line) for line in audited(place, "export", *arguments).out.splitlines()[1:]]


@pytest.fixture
def shop(place: Workplace) -> Workplace:
    place.declare_shop()
    place.commit()
    place.apply()
    return place


def test_an_apply_tells_who_from_where_under_which_plan_and_what_was_there_before_and_after(shop: Workplace) -> None:
    shop.release("2")
    shop.commit()
    shop.apply()
    events = exported(shop)
    update = next(event for event in events if event["action"] == "update")
    assert update["subject"] == "Deployment/shop-test"
    assert update["kind"] == "person"
    assert update["origin"] == f"command on {HOST}, {ACCOUNT}"
    assert update["revision"] == shop.git("rev-parse", "HEAD").strip()
    assert len(str(update["plan"])) == 64
    before, after = update["before"], update["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["spec"]["release"], after["spec"]["release"]) == ("1", "2")
    assert {event["space"] for event in events if event["action"] != "bind"} == {update["space"]}
    one_plan = [event["action"] for event in events if event["plan"] == update["plan"]]
    assert one_plan == ["update", "queue", "apply"]
    assert [event["kind"] for event in events if event["action"] in {"start", "end"}] == ["engine"] * 4


def test_what_is_removed_stands_in_the_audit_as_it_was(shop: Workplace) -> None:
    (shop.root / "deployment.yaml").unlink()
    shop.commit()
    shop.apply()
    removed = next(event for event in exported(shop) if event["action"] == "remove")
    assert removed["after"] is None
    assert json.loads(json.dumps(removed["before"]))["spec"]["project"] == "shop"


async def test_who_asks_a_live_engine_is_told_by_the_account_of_the_process(shop: Workplace) -> None:
    files = DataDirectory(shop.data)
    with EngineLock.take(files), shop.store() as store:
        sealer = await store.write(lambda tx: sealer_of(tx, files))
        control = ControlSocket(files.socket, store, sealer, changed=lambda: None)
        async with control.listening():
            await asyncio.to_thread(shop.run, "retry", "1")
            asked = await asyncio.to_thread(
                reconcile, "token", "create", "-C", shop.root, "--worker", "worker-1", "--pool", "blue"
            )
        assert asked.code == 0
        told = store.read_now(lambda tx: audit.newest(tx, 1))[0]
    assert (told.action, told.kind, told.origin) == ("token create", "person", f"control socket on {HOST}, {ACCOUNT}")


def test_an_untouched_audit_is_verified_in_the_state_and_in_a_file(shop: Workplace, tmp_path: Path) -> None:
    lines = audited(shop, "export").out
    last = json.loads(lines.splitlines()[-1])
    said = f"{last['event']} events, 1 to {last['event']}, as they were recorded. The last: {last['hash']}\n"
    assert audited(shop, "verify").out == said
    file = tmp_path / "audit.jsonl"
    file.write_text(lines)
    assert reconcile("audit", "verify", file).expect(0).out == said
    file.write_text(lines.replace("Environment/test", "Environment/best"))
    refused = reconcile("audit", "verify", file).expect(1)
    assert re.match(
        r"Error: the audit is broken at event \d+ \(changed\): it is not what its hash was made of\n", refused.err
    )


def test_a_selection_is_exported_and_verified_as_one(shop: Workplace, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(audited(shop, "export", "--subject", "task/1").out)
    assert len(exported(shop, "--subject", "task/1")) == 3
    assert reconcile("audit", "verify", file).expect(0).out == (
        "3 events of a selection, as they were recorded; whether one is missing cannot be told.\n"
    )


def test_events_are_listed_by_actor_subject_and_time(shop: Workplace) -> None:
    listed = audited(
        shop, "list", "--actor", "engine", "--subject", "task/1", "--since", "1h", "--until", "2100-01-01T00:00"
    ).out
    assert [line.split()[2:5] for line in listed.splitlines()[1:]] == [
        ["engine", "start", "task/1"],
        ["engine", "end", "task/1"],
    ]
    assert listed.split("\n")[0].split() == [
        "EVENT", "AT", "ACTOR", "FROM", "ACTION", "SUBJECT", "OUTCOME", "REVISION", "PLAN",
    ]  # fmt: skip
    assert len(audited(shop, "list", "--until", "1h").out.splitlines()) == 1


def test_a_state_in_which_nothing_happened_is_verified(place: Workplace) -> None:
    place.store().close()
    assert audited(place, "verify").out == "There are no events yet.\n"


def test_pruned_events_leave_an_audit_that_is_verified(shop: Workplace) -> None:
    with shop.store() as store:
        pruned = store.write_now(lambda tx: audit.prune(tx, time.time(), time.time()))
        assert pruned > 5
    assert audited(shop, "verify").out.startswith(f"1 event, {pruned + 1} to {pruned + 1}, as they were recorded.")


def test_no_secret_stands_in_the_database_in_clear(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = SECRETS
    monkeypatch.setenv("PLANTED", first)
    place.write("environment.yaml", ENVIRONMENT % "test")
    place.write("project.yaml", GUARDED % f"$(echo {third[::-1]} | rev)")
    place.write("deployment.yaml", DEPLOYMENT % ("shop-test", "shop", "1"))
    (place.root / ".gitignore").write_text("planted\n")
    (place.root / "planted").write_text(second)
    place.commit()
    place.apply()
    token = reconcile("token", "create", "-C", place.root, "--worker", "worker-1", "--pool", "blue").expect(0).out
    kept = b"".join(path.read_bytes() for path in place.data.glob("state.db*"))
    told = audited(place, "export").out
    assert "token create" in told
    for secret in (first, second, third, token.strip().split(".")[2], "PRIVATE KEY"):
        assert secret.encode() not in kept
        assert secret not in told
