"""Machines that misbehave: a full disk, a second agent, a frozen one, files that vanish, a server that does not listen."""

# ruff: noqa: ASYNC110 - the tests look at files and processes of others, which tell nobody

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.agent.directory import ShimClaim, TicketDirectory
from reconciler.agent.watch import JOURNAL_AHEAD_MAX
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import Cancelled, Exited, Signalled, TicketId
from tests.agent.worker import PATIENCE, running

pytestmark = pytest.mark.end_to_end  # real processes, and many of them

SMALL = 4 << 20  # bytes of the disk that is to be full


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a disk of `SMALL` bytes at `path`, and return a file that may fill it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield path / "filling"
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(file: Path) -> None:
    """Write until nothing fits any more."""
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 4096)
        except OSError:
            return


async def test_a_full_disk_starts_nothing_says_so_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with small_disk(tmp_path / "agent") as filling:
        async with running(tmp_path) as worker:
            fill(filling)
            ticket = worker.begin(f"echo started >> {witness}")
            await worker.news.until(lambda: "Declined" in worker.news.states[ticket])
            assert not witness.exists()
            filling.unlink()
            assert (await worker.run("exit 3", ticket="t2")).ending == Exited(3)


async def test_a_script_that_fills_the_disk_is_killed_and_its_ending_has_room_all_the_same(tmp_path: Path) -> None:
    with small_disk(tmp_path / "agent") as filling:
        async with running(tmp_path) as worker:
            script = f"cat /dev/zero > {filling} 2>/dev/null || true; head -c 1000000 /dev/zero; sleep 1000"
            ticket = worker.begin(script)
            final = await worker.final(ticket)
            assert final.ending == Signalled(signal.SIGKILL)
            assert "could not be stored on the worker" in final.message
            worker.link.forget(ticket)
            filling.unlink()
            assert (await worker.run("exit 3", ticket="t2")).ending == Exited(3)


async def test_a_second_agent_on_a_state_directory_is_refused_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            second = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "reconciler.agent", "--state", str(tmp_path / "agent")),
                *("--fd", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stderr=subprocess.PIPE,
            )
            _, complaint = await second.communicate()
        assert second.returncode == 1
        assert b"another agent works on this directory; stop it or use another" in complaint
        assert (await worker.run("exit 2")).ending == Exited(2)


async def test_an_artifact_that_vanished_is_named_and_the_ending_stands(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path) as worker:
        ticket = worker.begin(
            f"until [ -e {gate} ]; do sleep 0.02; done; echo a > a.txt; echo b > b.txt", artifacts=("*.txt",)
        )
        await worker.news.until(lambda: "Running" in worker.news.states[ticket])
    gate.touch()
    directory = worker.ticket_path(ticket)
    async with asyncio.timeout(PATIENCE):
        while not ((directory / "exit").read_bytes().strip() and not (directory / "work").exists()):
            await asyncio.sleep(0.01)
    for file in (directory / "artifacts").iterdir():
        if file.read_text() == "a\n":
            file.unlink()
    async with running(tmp_path) as worker:
        final = await worker.final(ticket)
    assert final.ending == Exited(0)
    assert [artifact.name for artifact in final.artifacts] == ["b.txt"]
    assert "artifact a.txt could not be stored: the worker cannot read it" in final.message


async def test_a_frozen_agent_is_replaced_and_the_script_goes_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path, ping_interval=0.5) as worker:
        ticket = worker.begin(f"until [ -e {gate} ]; do sleep 0.02; done; exit 8")
        await worker.news.until(lambda: "Running" in worker.news.states[ticket])
        assert worker.carrier.agent_pid is not None
        os.kill(worker.carrier.agent_pid, signal.SIGSTOP)
        await worker.news.until(lambda: len(worker.news.sessions) == 2)
        assert "nothing was heard from the agent" in worker.news.reasons[0]
        gate.touch()
        assert (await worker.final(ticket)).ending == Exited(8)


def waits_at_its_pipe(directory: Path) -> bool:
    """Say whether a script that does nothing but print sleeps, and its shim does not want to be woken by the pipe."""
    ticket = TicketDirectory(str(directory.parent), TicketId(directory.name))
    claim = ticket.claim()
    ticket.close()
    assert isinstance(claim, ShimClaim)
    shim = Path(f"/proc/{claim.pid}")
    (script,) = (shim / "task" / shim.name / "children").read_text().split()
    before = Path(f"/proc/{script}/status").read_text()
    asleep = "State:\tS" in before and "State:\tS" in (shim / "status").read_text()
    return asleep and Path(f"/proc/{script}/status").read_text() == before  # it slept all the while


async def test_without_a_server_a_flood_waits_at_the_limit_of_the_journal(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ticket = worker.begin("head -c 5 /dev/zero; exec yes", language="sh")
        await worker.news.until(lambda: worker.logs.received(ticket))
    directory = worker.ticket_path(ticket)
    async with asyncio.timeout(4 * PATIENCE):
        while (directory / "journal").stat().st_size < JOURNAL_AHEAD_MAX or not waits_at_its_pipe(directory):
            await asyncio.sleep(0.01)
    assert (directory / "journal").stat().st_size <= JOURNAL_AHEAD_MAX + (32 << 20)
    async with running(tmp_path) as worker:
        worker.link.cancel(ticket, grace=0.1)
        await worker.news.until(lambda: worker.news.sessions)
        async with asyncio.timeout(4 * PATIENCE):
            while not worker.news.finals[ticket]:
                await asyncio.sleep(0.05)
        assert worker.news.finals[ticket][0].ending == Cancelled()
    assert worker.text(ticket, Kind.STDOUT).startswith("\0\0\0\0\0y\ny\n")
