"""A data directory has one engine, however the one before it ended."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.model.errors import Conflict
from reconciler.store.directory import DataDirectory, EngineLock

HOLDER = """
import sys
from pathlib import Path
from reconciler.store.directory import DataDirectory, EngineLock
lock = EngineLock.take(DataDirectory(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.create()
    return made


def test_everything_in_it_is_open_to_its_owner_alone(directory: DataDirectory) -> None:
    folders = (directory.root, directory.logs, directory.blobs, directory.agent, directory.cache)
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    directory.create()


def test_what_leads_to_it_is_closed_too_where_it_was_made_for_it(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    before = os.umask(0o022)
    try:
        DataDirectory(there / "data" / "shop").create()
        DataDirectory(there / "data" / "site").create()
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o777 for folder in (there, there / "data")] == [0o755, 0o700]
    (there / "data").chmod(0o750)
    DataDirectory(there / "data" / "shop").create()
    assert (there / "data").stat().st_mode & 0o777 == 0o750


def test_a_second_engine_is_told_who_the_first_is(directory: DataDirectory) -> None:
    child = start_holder(directory)
    with pytest.raises(Conflict) as refused:
        EngineLock.take(directory)
    child.communicate()
    assert refused.value.message == f"another engine (pid {child.pid}) works on {directory.root}"
    assert (
        refused.value.hint
        == "wait until it ends; where it is a server, commit what you want, and follow it: reconcile wait --commit COMMIT"
    )


def test_an_engine_on_another_host_is_named_with_it(directory: DataDirectory) -> None:
    with EngineLock.take(directory):
        directory.lock.write_text("4711 omaha\n")
        with pytest.raises(Conflict, match=r"another engine \(pid 4711 on omaha\) works on"):
            EngineLock.take(directory)


def test_the_lock_of_a_killed_engine_is_free_at_once(directory: DataDirectory) -> None:
    child = start_holder(directory)
    child.kill()
    child.communicate()
    with EngineLock.take(directory):
        assert directory.lock.read_text() == f"{os.getpid()} {socket.gethostname()}\n"


def test_a_child_of_the_engine_does_not_inherit_the_lock(directory: DataDirectory) -> None:
    with EngineLock.take(directory):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with EngineLock.take(directory):
        child.communicate()


def start_holder(directory: DataDirectory) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, directory.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child
