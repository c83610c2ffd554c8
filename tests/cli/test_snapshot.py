"""`snapshot` and `plan --snapshot`: signed, redacted, and planned by where nothing else is at hand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.server.planning.snapshots import read, remarks
from reconciler.store.signing import keys_in
from tests.cli.workplace import ENVIRONMENT, POOL, PROJECT, Workplace, environment, worker

NO_WAY_OUT = """\
import os, sys

def watch(event, arguments):
    if event == "socket.connect" or event == "socket.sendto" or event == "socket.bind":
        os.write(2, b"a socket was used\\n"); os._exit(99)
    if event in {"os.exec", "os.posix_spawn", "os.system"} and os.path.basename(str(arguments[0])) != "git":
        os.write(2, b"a process was started\\n"); os._exit(98)
    if event == "subprocess.Popen" and os.path.basename(str(arguments[0])) != "git":
        os.write(2, b"a process was started\\n"); os._exit(98)

sys.addaudithook(watch)
from reconciler.cli.main import main
main()
"""
"""Ends the command where it uses a socket, or starts a process other than git."""


@pytest.fixture
def shop(place: Workplace) -> Workplace:
    """Make a place that is applied, with a worker, a project and a secret."""
    place.declare_shop()
    place.write("pools.yaml", POOL % "blue")
    place.write("workers.yaml", worker("blue-1", "blue"))
    place.commit()
    place.apply()
    return place


def snapshot_of(place: Workplace) -> tuple[Path, Path]:
    """Return a snapshot and the key that it is signed with, outside of the repository."""
    file, key = place.root.parent / "snapshot.json", place.root.parent / "key.pem"
    place.run("snapshot", "--out", file).expect(0)
    place.run("snapshot", "--key", "--out", key).expect(0)
    return file, key


def change(place: Workplace) -> None:
    place.write("project.yaml", PROJECT % ("shop", "echo more"))
    place.write("more.yaml", ENVIRONMENT % "staging")
    (place.root / "workers.yaml").unlink()
    place.commit()


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_a_plan_by_a_snapshot_prints_what_a_plan_by_the_state_prints(shop: Workplace, form: str) -> None:
    file, key = snapshot_of(shop)
    change(shop)
    live = shop.run("plan", "--max-removals", "1", "--format", form).expect(0)
    taken = shop.run("plan", "--max-removals", "1", "--format", form, "--snapshot", file, "--snapshot-key", key)
    assert taken.expect(0).out == live.out
    assert "Worker/blue-1" in taken.out


def test_it_says_what_it_was_planned_by(shop: Workplace) -> None:
    file, key = snapshot_of(shop)
    known = shop.run("plan", "--snapshot", file, "--snapshot-key", key).expect(0)
    serial, revision = json.loads(file.read_text().splitlines()[0])["serial"], shop.git("rev-parse", "HEAD").strip()
    assert re.fullmatch(
        rf"From the snapshot of serial {serial} at {revision[:7]}, made \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", known.err
    )
    unknown = shop.run("plan", "--snapshot", file).expect(0)
    assert unknown.err == known.err + (
        "Warning: the snapshot is whole, but who made it is not known: name the public key with --snapshot-key\n"
    )
    found = read(file.read_text(), "snapshot.json", list(keys_in(key.read_text())))
    made = found.snapshot.live.at
    assert list(remarks(found, made + 3_600))[1:] == []
    assert list(remarks(found, made + 90_000))[1:] == [
        "Warning: the snapshot is 1 day old: what was applied since is missing in the plan"
    ]
    assert list(remarks(found, made + 200_000))[1:] == [
        "Warning: the snapshot is 2 days old: what was applied since is missing in the plan"
    ]


def test_without_a_state_an_agent_or_a_socket_the_plan_is_the_same(shop: Workplace, tmp_path: Path) -> None:
    """The clone knows nothing but the commit, as a job of a pull request does."""
    file, key = snapshot_of(shop)
    change(shop)
    arguments = ("plan", "--max-removals", "1")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{shop.root}", clone], check=True)
    options = ("-C", clone, "--snapshot", file, "--snapshot-key", key)
    done = subprocess.run(
        [sys.executable, "-c", NO_WAY_OUT, *arguments, *options],
        env=environment(HOME=str(tmp_path)), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == shop.run(*arguments).expect(0).out
    assert not (clone / ".reconcile").exists()


def test_the_watch_over_sockets_and_processes_works(tmp_path: Path) -> None:
    for line, code in (
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", 99),
        ("import subprocess; subprocess.run(['true'])", 98),
    ):
        script = NO_WAY_OUT.partition("from reconciler")[0] + line
        assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == code


def test_a_plan_saved_from_a_snapshot_is_applied_where_the_state_is(shop: Workplace, tmp_path: Path) -> None:
    file, key = snapshot_of(shop)
    change(shop)
    options = ("--snapshot", file, "--snapshot-key", key, "--max-removals", "1")
    shop.run("plan", *options, "--out", tmp_path / "plan.json").expect(0)
    shop.run("apply", tmp_path / "plan.json").expect(0)
    assert "No changes" in shop.run("plan").expect(0).out


def test_any_byte_that_was_changed_is_found(shop: Workplace) -> None:
    file, key = snapshot_of(shop)
    raw, known = file.read_bytes(), list(keys_in(key.read_text()))
    assert read(raw.decode(), "snapshot.json", known).by_known_key
    for place in range(len(raw)):
        for trusted in (known, []):
            changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            with pytest.raises(UsageMistake):
                read(changed.decode(errors="replace"), "snapshot.json", trusted)
    for cut in (raw[:-1], raw + b"\n", raw.splitlines()[0]):
        with pytest.raises(UsageMistake):
            read(cut.decode(), "snapshot.json", known)


def test_two_snapshots_share_no_digest(shop: Workplace) -> None:
    first = set(re.findall(r"redacted:\w+", shop.run("snapshot").expect(0).out))
    second = set(re.findall(r"redacted:\w+", shop.run("snapshot").expect(0).out))
    assert first
    assert not first & second


def test_the_key_is_changed_in_three_steps_that_leave_no_gap(shop: Workplace, tmp_path: Path) -> None:
    file, key = snapshot_of(shop)

    def trust(step: str) -> str:
        return shop.run("trust", step, "snapshot").expect(0).out if step == "show" else _trust(shop, step)

    assert trust("stage").endswith("; `reconcile snapshot --key` prints it beside the present one\n")
    shop.run("snapshot", "--key", "--out", key).expect(0)
    assert len(list(keys_in(key.read_text()))) == 2
    assert trust("switch").startswith("the snapshot key in use is SHA256:")
    former = file.read_text()
    shop.run("snapshot", "--out", file).expect(0)
    for text in (former, file.read_text()):
        assert read(text, "snapshot.json", list(keys_in(key.read_text()))).by_known_key
    assert trust("retire").startswith("the former snapshot key, SHA256:")
    (now,) = keys_in(shop.run("snapshot", "--key").expect(0).out)
    with pytest.raises(UsageMistake, match="does not hold"):
        read(former, "snapshot.json", [now])


def _trust(place: Workplace, step: str) -> str:
    from tests.cli.workplace import reconcile

    return reconcile("trust", step, "snapshot", "-C", place.root).expect(0).out


def test_only_who_may_read_the_key_of_the_state_can_sign(shop: Workplace) -> None:
    snapshot_of(shop)
    key = shop.data / "key" if isinstance(shop.data, Path) else Path(shop.data) / "key"
    kept = key.read_bytes()
    key.write_bytes(os.urandom(32))
    refused = shop.run("snapshot").expect(1)
    assert refused.out == ""
    assert "is not a key of ours" in refused.err
    assert shop.run("snapshot", "--key").expect(0).out.startswith("-----BEGIN PUBLIC KEY-----\n")
    key.write_bytes(kept)
