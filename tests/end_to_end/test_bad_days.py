"""Bad days: real commands on states, keys, disks and repositories that are not as they should be."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.directory import DataDirectory, EngineLock
from tests.cli.workplace import PROJECT, RECONCILE, Outcome, Workplace, command, environment
from tests.declare.repository import IDENTITY
from tests.postgres import PostgresServer, postgres_server

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NOBODY = 65534

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Make a repository that declares a shop of one quick step, committed."""
    found = Workplace(tmp_path / "space")
    found.declare_shop()
    found.commit()
    return found


def apply(place: Workplace, *options: str | Path, **more: str) -> Outcome:
    return place.process("apply", "--auto-approve", "--new-state", *options, **more)


READING = ("status", "tasks", "events", "get workers", "logs 1", "why task/1", "artifacts 1")


@pytest.mark.parametrize("line", [*READING, "approve 1", "reject 1", "cancel 1", "retry 1"])
def test_before_the_first_apply_there_is_no_state_and_none_is_made(place: Workplace, line: str) -> None:
    verb, *arguments = line.split()
    said = place.process(verb, *arguments).expect(1)
    assert said.out == ""
    assert said.err == (
        f"Error: there is no state in {place.data} yet\n  the first apply makes it, or a server: reconcile apply, or reconcile serve\n"
    )
    assert not place.data.exists()


def test_a_plan_before_the_first_apply_writes_nothing(place: Workplace) -> None:
    before = sorted(place.root.iterdir())
    place.process("plan", "--detailed-exitcode").expect(2)
    assert sorted(place.root.iterdir()) == before


def test_a_decision_in_an_empty_directory_leaves_it_empty(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    place.process("cancel", "1", "--data", tmp_path / "empty").expect(1)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("line", ["plan", "status", "apply --auto-approve", "cancel 1"])
def test_a_text_file_in_place_of_the_state_is_left_alone(place: Workplace, line: str) -> None:
    place.data.mkdir()
    (place.data / "state.db").write_text("a shopping list " * 100)
    said = place.process(*line.split()).expect(1)
    assert f"Error: {place.data}/state.db is not a database\n" in said.err
    assert (place.data / "state.db").read_text() == "a shopping list " * 100


@pytest.mark.parametrize("line", ["plan", "status", "apply --auto-approve"])
def test_a_damaged_state_is_named_and_never_replaced(place: Workplace, line: str) -> None:
    apply(place).expect(0)
    state = place.data / "state.db"
    damaged = state.read_bytes()[:4096] + b"\xff" * (state.stat().st_size - 4096)
    state.write_bytes(damaged)
    said = place.process(*line.split()).expect(1)
    assert f"Error: {state} is damaged: database disk image is malformed\n" in said.err
    assert "restore the state from a backup" in said.err
    assert state.read_bytes() == damaged


@pytest.mark.parametrize("line", ["plan", "status", "apply --auto-approve"])
def test_a_state_of_a_newer_version_is_left_to_it(place: Workplace, line: str) -> None:
    apply(place).expect(0)
    with sqlite3.connect(place.data / "state.db") as connection:
        connection.execute("UPDATE reconciler_schema SET version = version + 1")
    connection.close()
    said = place.process(*line.split()).expect(1)
    assert f"Error: {place.data}/state.db was written by a newer reconciler (schema " in said.err
    assert said.err.endswith("  use that version or a newer one\n")


@pytest.fixture
def powerless() -> tuple[str, ...]:
    """Return what takes root's power over the files of others; other accounts have none and need nothing."""
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--") if os.geteuid() == 0 else ()


def give_away(folder: Path) -> None:
    """Give a folder with all that is in it to another account, or close it where that needs root."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def test_a_data_directory_that_may_not_be_made(place: Workplace, tmp_path: Path, powerless: tuple[str, ...]) -> None:
    (tmp_path / "theirs").mkdir()
    give_away(tmp_path / "theirs")
    data = tmp_path / "theirs" / "data"
    said = command("apply", "--auto-approve", "--data", data, folder=place.root, through=powerless).expect(1)
    assert said.err == (
        f"Error: the data directory {data} cannot be made: Permission denied\n"
        "  make its parent writable for the user who runs this, or name another with --data\n"
    )


@pytest.mark.parametrize("line", ["status", "plan", "apply --auto-approve", "cancel 1"])
def test_the_state_of_another_account(place: Workplace, powerless: tuple[str, ...], line: str) -> None:
    if not powerless:
        pytest.skip("only root can make the state of another account")
    apply(place).expect(0)
    give_away(place.data)
    said = command(*line.split(), folder=place.root, through=powerless).expect(1)
    assert "Permission denied\n" in said.err
    assert str(place.data) in said.err
    assert "Traceback" not in said.err


def test_a_repository_of_another_account_is_explained(place: Workplace) -> None:
    """Git refuses to read what may run hooks of somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can make the repository of another account")
    give_away(place.root)
    said = place.process("plan").expect(1)
    assert "the repository belongs to another account: run as that account, or change its owner\n" in said.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "reconciler-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, *, leaving: int = 0) -> Path:
    """Leave so many bytes free on a disk."""
    facts = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * max(0, facts.f_bavail * facts.f_bsize - leaving))
    return ballast


def test_a_disk_that_is_full_from_the_start_is_no_bug_of_ours(place: Workplace, small_disk: Path) -> None:
    fill(small_disk)
    said = apply(place, "--data", small_disk / "data").expect(1)
    assert "Traceback" not in said.err
    assert "No space left on device" in said.err or "is full, nothing was written" in said.err


def test_a_disk_that_fills_up_stops_the_apply_and_the_next_one_goes_on(place: Workplace, small_disk: Path) -> None:
    data = small_disk / "data"
    apply(place, "--data", data).expect(0)
    place.declare_shop("echo again", release="2")
    ballast = fill(small_disk)
    said = apply(place, "--data", data).expect(1)
    assert "Traceback" not in said.err
    assert said.err.rpartition("Error: ")[2]
    ballast.unlink()
    apply(place, "--data", data).expect(0)
    assert json.loads(place.process("status", "--json", "--data", data).out)["deployments"][0]["release"] == "2"


def test_a_plan_saved_on_a_full_disk_says_so(place: Workplace, small_disk: Path) -> None:
    fill(small_disk)
    said = place.process("plan", "--out", small_disk / "plan.json").expect(1)
    assert said.err.startswith("Error: the output cannot be written: No space left on device\n")


def test_a_second_engine_names_the_first(place: Workplace) -> None:
    files = DataDirectory(place.data)
    files.create()
    with EngineLock.take(files):
        said = apply(place).expect(3)
    assert said.err == (
        f"Error: another engine (pid {os.getpid()}) works on {place.data}\n"
        "  wait until it ends; where it is a server, commit what you want, and follow it: reconcile wait --commit COMMIT\n"
    )


def test_reading_is_free_while_an_engine_works(place: Workplace) -> None:
    apply(place).expect(0)
    with EngineLock.take(DataDirectory(place.data)):
        for line in (*READING, "plan"):
            place.process(*line.split()).expect(0)


def test_a_lock_is_gone_with_its_engine(place: Workplace) -> None:
    place.declare_shop("echo started; sleep 60")
    process = subprocess.Popen(
        [RECONCILE, "apply", "--auto-approve", "--new-state"], cwd=place.root, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "started" not in (line := process.stderr.readline()):
        assert line, "it ended before the step began"
    process.kill()
    process.wait()
    process.stderr.close()
    place.process("cancel", "1").expect(0)
    apply(place).expect(6)


SEALING = PROJECT % ("shop", "set_output --sensitive token abc-def-ghi")


def test_a_lost_key_is_missed_and_nothing_is_sealed_with_a_new_one(place: Workplace) -> None:
    place.write("project.yaml", SEALING)
    apply(place).expect(0)
    key = (place.data / "key").read_bytes()
    (place.data / "key").unlink()
    said = apply(place).expect(1)
    assert said.err == (
        f"Error: the key {place.data}/key is missing\n"
        "  bring it back, from another node if there is one; without it this state's sensitive values are lost\n"
    )
    assert not (place.data / "key").exists()
    place.process("status").expect(0)
    (place.data / "key").write_bytes(key)
    (place.data / "key").chmod(0o600)
    apply(place).expect(0)


def test_a_key_that_others_may_read_is_refused(place: Workplace, tmp_path: Path) -> None:
    apply(place).expect(0)
    key = tmp_path / "key"
    shutil.move(place.data / "key", key)
    key.chmod(0o640)
    said = apply(place, RECONCILE_KEY_FILE=str(key)).expect(1)
    assert said.err == f"Error: the key {key} may be read by others (mode 0640)\n  run: chmod 600 {key}\n"
    key.chmod(0o600)
    apply(place, RECONCILE_KEY_FILE=str(key)).expect(0)


def test_a_key_that_was_promised_is_never_made(place: Workplace, tmp_path: Path) -> None:
    said = apply(place, RECONCILE_KEY_FILE=str(tmp_path / "nowhere")).expect(1)
    assert f"Error: the key {tmp_path}/nowhere is missing\n" in said.err
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def test_the_quickstart_runs_on_postgresql(server: PostgresServer, tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    shutil.copytree(EXAMPLES / "quickstart", folder)
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=folder, env=environment(**IDENTITY), check=True)
    at = ("--data", server.new_database(), "--files", str(tmp_path / "files"))

    def run(*arguments: str) -> Outcome:
        return command(*arguments, *at, folder=folder)

    assert "there is no state in postgresql://" in run("status").expect(1).err
    run("plan", "--detailed-exitcode").expect(2)
    run("apply", "--auto-approve", "--new-state").expect(0)
    assert "hello-development" in run("status").expect(0).out
    assert "Hello, world!\n" in run("logs", "1").expect(0).out
    assert "succeeded" in run("tasks").expect(0).out
    assert run("plan", "--detailed-exitcode").expect(0).out.startswith("No changes.")
    assert not (folder / ".reconcile").exists()
    assert not (tmp_path / "files" / "state.db").exists()


def test_a_task_of_another_machine_is_left_to_it(server: PostgresServer, place: Workplace, tmp_path: Path) -> None:
    """Two machines apply on one database, with one key and each with files of its own; the second waits its turn."""
    key = {"RECONCILE_KEY_FILE": str(tmp_path / "one" / "key")}
    place.declare_shop(f"echo started; cat {tmp_path}/gate")
    os.mkfifo(tmp_path / "gate")
    address = server.new_database()
    first = subprocess.Popen(
        [RECONCILE, "apply", "--auto-approve", "--new-state", "--data", address, "--files", tmp_path / "one"],
        cwd=place.root, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stderr is not None
    while "started" not in (line := first.stderr.readline()):
        assert line, "it ended before the step began"
    said = apply(place, "--data", address, "--files", tmp_path / "two", **key).expect(3)
    assert f"Error: the node {socket.gethostname()} leads this state since 20" in said.err
    assert "run the command on that node; if it is dead, another may lead after 15 s\n" in said.err
    (tmp_path / "gate").write_text("go on\n")
    _, err = first.communicate(timeout=30)
    assert first.returncode == 0, err
    apply(place, "--data", address, "--files", tmp_path / "two", **key).expect(0)


def test_an_apply_that_was_killed_does_not_keep_its_successor_waiting(
    server: PostgresServer, place: Workplace, tmp_path: Path
) -> None:
    place.declare_shop("echo started; sleep 60")
    at = ("--data", server.new_database(), "--files", tmp_path / "files")
    process = subprocess.Popen(
        [RECONCILE, "apply", "--auto-approve", "--new-state", *at], cwd=place.root, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "started" not in (line := process.stderr.readline()):
        assert line, "it ended before the step began"
    process.kill()
    process.wait()
    process.stderr.close()
    place.process("cancel", "1", *at).expect(0)
    apply(place, *at).expect(6)


@pytest.mark.parametrize(
    "address", ["postgresql://ada:secret@127.0.0.1/db", "postgres://ada:@h/db", "postgresql://h/db?password=secret"]
)
def test_a_password_in_the_address_is_refused_and_not_repeated(place: Workplace, address: str) -> None:
    said = place.process("plan", "--data", address, "--files", "files").expect(1)
    assert "secret" not in said.err
    assert "put it into PGPASSWORD, a pgpass file or a service file\n" in said.err


def test_a_repository_without_a_commit_is_a_working_tree(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    shown = place.process("plan").expect(0)
    assert shown.out.startswith("The working tree asks for these changes:\n")
    apply(place).expect(0)
    place.commit()
    assert place.process("plan").expect(0).out.startswith("No changes.")
    assert "is not a commit of the repository" in place.process("plan", "--rev", "nowhere").expect(1).err


def test_an_empty_repository_declares_nothing(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    assert place.process("validate").expect(0).out == "0 files read; no errors.\n"
    assert place.process("plan").expect(0).out == "No changes. The live state is what the working tree declares.\n"
    apply(place).expect(0)
    assert "nothing is applied" in place.process("status").expect(0).out


def test_a_folder_outside_git_is_a_space_too(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "quickstart", tmp_path / "space")
    command("apply", "--auto-approve", "--new-state", folder=tmp_path / "space").expect(0)
    assert command("plan", folder=tmp_path / "space").expect(0).out.startswith("No changes.")
    refused = command("plan", "--rev", "HEAD", folder=tmp_path / "space").expect(1)
    assert '"HEAD" is not a commit' in refused.err


def test_a_folder_of_a_larger_repository_is_a_space(place: Workplace) -> None:
    inside = place.root / "spaces" / "greetings"
    shutil.copytree(EXAMPLES / "quickstart", inside)
    place.commit()
    shown = command("plan", "-C", "spaces/greetings", folder=place.root).expect(0)
    assert "Deployment/hello-development" in shown.out
    assert "shop" not in shown.out
    command("apply", "-C", "spaces/greetings", "--auto-approve", "--new-state", folder=place.root).expect(0)
    assert (inside / ".reconcile").is_dir()
    assert place.git("status", "--porcelain") == "", "the state is never committed"


FOREIGN = {
    "chart/templates/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Values.name }}\n",
    "chart/templates/_helpers.yaml": '{{- define "chart.name" -}}\n{{ .Chart.Name }}\n{{- end -}}\n',
    "chart/values.yaml": "name: shop\nreplicas: 2\n",
    "compose.yaml": "services:\n  web:\n    image: nginx\n",
    "k8s/all.yml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Service\n",
    ".github/workflows/ci.yaml": "on: push\njobs: {}\n",
}


def test_the_yaml_of_other_programs_is_skipped_and_counted(place: Workplace) -> None:
    for path, text in FOREIGN.items():
        place.write(path, text)
    shown = place.process("validate").expect(0)
    assert shown.err == ""
    assert shown.out == "8 files read, 6 foreign documents skipped; no errors.\n"
    assert "Plan: 3 to add" in place.process("plan").expect(0).out


def test_a_mistyped_version_of_ours_is_never_foreign(place: Workplace) -> None:
    text = (place.root / "project.yaml").read_text()
    place.write("project.yaml", text.replace("reconciler/v1", "reconcilr/v1"))
    assert "error[api-version]" in place.process("plan").expect(1).err


def test_a_broken_file_removes_nothing(place: Workplace) -> None:
    apply(place).expect(0)
    place.write("environment.yaml", "{{ not yaml any more")
    said = apply(place).expect(1)
    assert "environment.yaml:1" in said.err
    place.process("get", "environment", "test").expect(0)
