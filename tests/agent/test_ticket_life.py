"""The life of a ticket in real processes: started at most once, ended exactly once, killed to the last process."""

# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 - the tests look at files and processes of others, which tell nobody

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.agent.processes import carriers_of, descendants
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import (
    Cancelled,
    Exited,
    Final,
    Lost,
    NotStarted,
    OutputLimit,
    Secrets,
    Signalled,
    TicketId,
    TicketSpec,
    TimedOut,
)
from tests.agent.worker import PATIENCE, Worker, running, specification


async def until_written(path: Path) -> str:
    """Wait until a script has written a whole line to `path`."""
    async with asyncio.timeout(PATIENCE):
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
    return path.read_text()


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.01)


async def until_forgotten(worker: Worker, ticket: TicketId) -> None:
    async with asyncio.timeout(PATIENCE):
        while ticket in worker.link._desires:
            await asyncio.sleep(0.01)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_script_runs_and_its_output_exit_code_and_outputs_come_back(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("echo hello; echo oops >&2; set_output color 'deep blue'; exit 3")
        assert final.ending == Exited(3)
        assert sorted(worker.text().splitlines()) == ["hello", "oops"]
        assert [(output.name, output.value) for output in final.outputs] == [("color", "deep blue")]
        assert worker.news.states[TicketId("t1")] == ["Running"]


async def test_a_ticket_offered_and_started_twice_runs_once(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    async with running(tmp_path) as worker:
        spec = specification(f"echo started >> {witness}")
        for _ in range(2):
            worker.link.offer(spec)
            worker.link.start(spec.ticket, Secrets())
            worker.link._desires.clear()  # as a restarted server would say it again
        assert (await worker.final(spec.ticket)).ending == Exited(0)
    assert witness.read_text() == "started\n"


async def test_a_killed_agent_leaves_the_script_running(tmp_path: Path) -> None:
    pid, gate = tmp_path / "pid", tmp_path / "gate"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"echo $$ > {pid}; until [ -e {gate} ]; do sleep 0.02; done; echo done; exit 7")
        script = int(await until_written(pid))
        assert worker.carrier.agent_pid is not None
        os.kill(worker.carrier.agent_pid, signal.SIGKILL)
        await worker.news.until(lambda: len(worker.news.sessions) == 2)
        assert Path(f"/proc/{script}").exists()
        gate.touch()
        assert (await worker.final(ticket)).ending == Exited(7)
        assert worker.text() == "done\n"


async def test_a_script_that_ends_while_no_server_listens_is_reported_later(tmp_path: Path) -> None:
    pid, gate = tmp_path / "pid", tmp_path / "gate"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"echo $$ > {pid}; until [ -e {gate} ]; do sleep 0.02; done; echo late; exit 9")
        script = int(await until_written(pid))
    gate.touch()
    await until_gone(script)
    async with running(tmp_path) as worker:
        assert (await worker.final(ticket)).ending == Exited(9)
        assert worker.text() == "late\n"


async def test_a_cancel_that_finds_no_way_to_the_shim_is_kept_until_there_is_one(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"echo $PPID > {pid}; sleep 1000")
        shim = int(await until_written(pid))
        assert worker.carrier.agent_pid is not None
        os.kill(shim, signal.SIGSTOP)  # so that it does not see that its agent is gone
        os.kill(worker.carrier.agent_pid, signal.SIGKILL)
        await worker.news.until(lambda: len(worker.news.sessions) == 2)
        worker.link.cancel(ticket, grace=0.1)
        await worker.run("true", ticket="after")
        os.kill(shim, signal.SIGCONT)
        assert (await worker.final(ticket)).ending == Cancelled()


async def test_a_killed_nursery_is_replaced(tmp_path: Path) -> None:
    pid, gate = tmp_path / "pid", tmp_path / "gate"
    async with running(tmp_path) as worker:
        worker.begin(f"echo $$ > {pid}; until [ -e {gate} ]; do sleep 0.02; done", ticket="before")
        await until_written(pid)
        assert worker.carrier.agent_pid is not None
        for process in children(worker.carrier.agent_pid):
            os.kill(process, signal.SIGKILL)
        assert (await worker.run("exit 4", ticket="after")).ending == Exited(4)
        gate.touch()
        assert (await worker.final(TicketId("before"))).ending == Exited(0)


def children(pid: int) -> list[int]:
    return [process for process in descendants(pid) if parent(process) == pid]


async def test_a_killed_shim_loses_the_ticket_and_nothing_of_the_script_is_left(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"sleep 1000 & (setsid sleep 1000 &) ; echo $$ > {pid}; echo seen; wait")
        script = int(await until_written(pid))
        await worker.news.until(lambda: worker.text() == "seen\n")
        cookie = Path(f"/proc/{script}/environ").read_bytes().split(b"RECONCILE_COOKIE=")[1].split(b"\0")[0].decode()
        os.kill(parent(script), signal.SIGKILL)
        final = await worker.final(ticket)
        assert isinstance(final.ending, Lost)
        assert "sweep" in final.ending.reason
        assert carriers_of(cookie) == set()
        assert worker.text() == "seen\n"


async def test_a_killed_shim_leaves_no_process_that_cleared_its_environment(tmp_path: Path) -> None:
    pids = [tmp_path / "in-the-session", tmp_path / "in-its-own"]
    begun = [
        f"env -i {prefix} sh -c 'echo $$ > {pid}; exec sleep 1000'"
        for prefix, pid in zip(["", "setsid"], pids, strict=True)
    ]
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"({begun[0]} &); {begun[1]} & echo $PPID > {tmp_path}/shim; wait")
        left = [int(await until_written(pid)) for pid in pids]
        os.kill(int(await until_written(tmp_path / "shim")), signal.SIGKILL)
        assert isinstance((await worker.final(ticket)).ending, Lost)
        for pid in left:
            await until_gone(pid)


async def test_cancel_kills_what_ignores_sigterm_and_what_became_a_daemon(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    daemon = (
        "setsid bash -c \"trap '' TERM; echo \\$\\$ >> {pid}; while :; do sleep 1; done\" </dev/null >/dev/null 2>&1 &"
    )
    script = f"trap '' TERM; ({daemon.format(pid=pid)}); echo $$ >> {pid}; while :; do sleep 1; done"
    async with running(tmp_path) as worker:
        ticket = worker.begin(script)
        async with asyncio.timeout(PATIENCE):
            while len((await until_written(pid)).split()) < 2:
                await asyncio.sleep(0.01)
        worker.link.cancel(ticket, grace=0.2)
        assert (await worker.final(ticket)).ending == Cancelled()
        for process in pid.read_text().split():
            assert not Path(f"/proc/{process}").exists()


async def test_a_polite_script_has_its_grace_to_clean_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        ticket = worker.begin(
            f"trap 'echo cleaned; exit 0' TERM; echo $$ > {pid}; while :; do sleep 0.05 || true; done"
        )
        await until_written(pid)
        worker.link.cancel(ticket, grace=20)
        assert (await worker.final(ticket)).ending == Cancelled()
        assert "cleaned\n" in worker.text()


async def test_a_modest_fork_bomb_is_cancelled(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    bomb = f"f() {{ for i in 1 2 3; do (sleep 0.01; [ $1 -gt 0 ] && f $(($1 - 1)); sleep 100) & done; wait; }}; echo 1 > {pid}; f 4"
    async with running(tmp_path) as worker:
        ticket = worker.begin(bomb)
        await until_written(pid)
        worker.link.cancel(ticket, grace=0.1)
        assert (await worker.final(ticket)).ending == Cancelled()


async def test_a_timeout_kills_the_tree(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("sleep 1000 & sleep 1000", timeout=0.3)
        assert final.ending == TimedOut()
        assert "timeout of 0.3 s" in worker.text("t1", Kind.SYSTEM)


async def test_a_voided_ticket_never_starts(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    async with running(tmp_path) as worker:
        spec = specification(f"echo started > {witness}")
        worker.link.offer(spec)
        worker.link.void(spec.ticket)
        final = await worker.final(spec.ticket)
        worker.link.start(spec.ticket, Secrets())
        await worker.run("true", ticket="t2")
    assert isinstance(final.ending, NotStarted)
    assert not witness.exists()


async def test_of_void_and_run_at_once_exactly_one_wins(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        for number in range(20):
            witness = tmp_path / f"witness{number}"
            ticket = worker.begin(f"echo started > {witness}", ticket=f"r{number}", language="sh")
            worker.link.void(ticket)
            final = await worker.final(ticket)
            assert isinstance(final.ending, NotStarted) != witness.exists()
            assert isinstance(final.ending, NotStarted | Exited)


async def test_a_forgotten_ticket_is_declined_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ticket = TicketId("t1")
        await worker.run("true")
        worker.link.forget(ticket)
        await until_forgotten(worker, ticket)
        assert not worker.ticket_path(ticket).exists()
        worker.link.offer(specification("true"))
        await worker.news.until(lambda: worker.news.states[ticket][-1] == "Declined")


async def test_a_missing_interpreter_is_a_sentence_and_no_start(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("true", interpreter=("no-such-shell",))
        assert isinstance(final.ending, NotStarted)
        assert "no-such-shell is not installed on this worker" in final.ending.reason


async def test_a_script_finds_a_minimal_environment_and_no_input(tmp_path: Path) -> None:
    os.environ["SERVER_ONLY"] = "leaks"
    try:
        async with running(tmp_path) as worker:
            secrets = Secrets(environment={"TOKEN": "s3cr3t-value"}, masks=("s3cr3t-value",))
            await worker.run("env; cat; ls -l /proc/self/fd", environment={"COLOR": "red"}, secrets=secrets)
    finally:
        del os.environ["SERVER_ONLY"]
    text = worker.text()
    assert "COLOR=red" in text
    assert "TOKEN=********" in text
    assert "SERVER_ONLY" not in text
    assert "socket:" not in text
    nonce = next(line for line in text.splitlines() if line.startswith("RECONCILE_NONCE="))
    assert nonce == "RECONCILE_NONCE=********"


async def test_a_grandchild_that_keeps_the_pipe_delays_the_end_by_two_seconds_at_most(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        async with asyncio.timeout(10):
            final = await worker.run(f"(sleep 1000 & echo $! > {pid}); echo end")
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert final.ending == Exited(0)
    assert worker.text() == "end\n"


async def test_a_signal_that_was_not_ours_is_reported_as_such(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        assert (await worker.run("kill -ABRT $$")).ending == Signalled(signal.SIGABRT)


@pytest.mark.parametrize(("then", "ending"), [("truncate", Exited(0)), ("kill", Signalled(signal.SIGKILL))])
async def test_output_past_the_limit_is_dropped_or_ends_the_script(tmp_path: Path, then: str, ending: object) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run(
            "head -c 300000 /dev/zero | tr '\\0' x; sleep 0.2", output_limit=OutputLimit(1000, then)
        )
        assert final.ending == ending
        assert worker.text() == "x" * 1000
        assert int(worker.text("t1", Kind.GAP)) > 0
        assert ("printed more than 1000 bytes" in final.message) == (then == "kill")


async def test_invalid_utf8_comes_through_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        await worker.run("printf 'a\\377\\000b'")
        data = b"".join(record.data for _, record in worker.logs.records(TicketId("t1")))
    assert data == b"a\xff\x00b"


async def test_a_sensitive_output_is_masked_and_never_on_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("set_output key hunter2-hunter2 --sensitive; echo hunter2-hunter2")
        assert [(output.value, output.sensitive) for output in final.outputs] == [("hunter2-hunter2", True)]
        assert worker.text() == "********\n"
        script = worker.ticket_path(TicketId("t1")) / "script.sh"
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.name not in {"spec", script.name}:
                assert b"hunter2" not in path.read_bytes(), path
        worker.link.forget(TicketId("t1"))
        await until_forgotten(worker, TicketId("t1"))


@pytest.mark.end_to_end  # it takes as long as the keeper looks the other way
async def test_who_keeps_a_sensitive_output_ends_when_its_ticket_is_removed_from_the_disk(tmp_path: Path) -> None:
    """Nobody can ask for it any more; the look is each 10 s."""
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        await worker.run(f"echo $PPID > {pid}; set_output key hunter2-hunter2 --sensitive")
        keeper = Path("/proc") / pid.read_text().strip()
        assert keeper.exists()
        path = worker.ticket_path(TicketId("t1"))
        while path.exists():
            shutil.rmtree(path, ignore_errors=True)  # the keeper itself may still be clearing up there
        async with asyncio.timeout(PATIENCE):
            while keeper.exists():
                await asyncio.sleep(0.1)


async def test_a_sensitive_output_whose_keeper_died_is_said_to_be_lost(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"echo $PPID > {pid}; set_output key hunter2-hunter2 --sensitive")
        await worker.final(ticket)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    await until_gone(int(pid.read_text()))
    async with running(tmp_path) as worker:
        final = await worker.final(ticket)
    assert final.message.startswith("output-lost: ")
    assert final.outputs == ()


async def test_artifacts_are_collected_by_pattern_and_by_call_but_never_from_outside(tmp_path: Path) -> None:
    script = """
    mkdir -p build/deep; echo one > build/one.txt; echo two > build/deep/two.txt
    head -c 3000000 /dev/zero > large.bin
    ln -s /etc/passwd build/passwd.txt; ln -s /etc outside
    add_artifact large.bin big; add_artifact ../spec; add_artifact outside/hostname; add_artifact missing
    """
    async with running(tmp_path) as worker:
        final = await worker.run(script, artifacts=("build/**/*.txt",))
        kept = {artifact.name: artifact for artifact in final.artifacts}
        assert set(kept) == {"build/one.txt", "build/deep/two.txt", "big"}
        digest = kept["build/one.txt"].digest
        assert (worker.blobs / digest[:2] / digest).read_text() == "one\n"
        assert (worker.blobs / kept["big"].digest[:2] / kept["big"].digest).stat().st_size == 3000000
        complaints = worker.text("t1", Kind.SYSTEM)
        assert complaints.count("lies outside the working directory") == 3
        assert "artifact missing: cannot be read" in complaints
        assert not (worker.ticket_path(TicketId("t1")) / "work").exists()


async def test_a_large_script_travels_by_its_digest(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        script = "#" * 3_000_000 + "\nexit 5\n"
        whole = specification(script)
        path = worker.blobs / whole.script_digest[:2] / whole.script_digest
        path.parent.mkdir(parents=True)
        path.write_text(script)
        worker.link.offer(specification_without_text(script))
        worker.link.start(whole.ticket, Secrets())
        assert (await worker.final(whole.ticket)).ending == Exited(5)


def specification_without_text(script: str) -> TicketSpec:
    return replace(specification(script), script=None)


async def test_a_flood_arrives_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run(
            "head -c 30000000 /dev/urandom | base64 -w 100 | tee >(sha256sum > sum) >&1; sleep 0.1; set_output sum $(cut -c-64 sum)"
        )
        digest = hashlib.sha256()
        for _, record in worker.logs.records(TicketId("t1")):
            digest.update(record.data if record.kind is Kind.STDOUT else b"")
    assert digest.hexdigest() == final.outputs[0].value


@pytest.mark.parametrize("language", ["bash", "sh"])
async def test_shell_helpers_speak(tmp_path: Path, language: str) -> None:
    script = """set_output tricky 'a%b]c d
e'
progress 50 'half way'
log_level warning; echo careful
mask top-secret; echo "it is top-secret"
echo line $LINENO
fail 'because of ü'"""
    async with running(tmp_path) as worker:
        final = await worker.run(script, language=language)
        assert_helpers_spoke(worker, final)
        assert language == "sh" or "line 6" in worker.text()  # dash has no LINENO


async def test_python_helpers_speak(tmp_path: Path) -> None:
    script = """import step
step.set_output("tricky", "a%b]c d\\ne")
step.progress(50, "half way")
step.log_level("warning"); print("careful")
step.mask("top-secret"); print("it is top-secret")
step.fail("because of ü")"""
    async with running(tmp_path) as worker:
        assert_helpers_spoke(worker, await worker.run(script, language="python"))


def assert_helpers_spoke(worker: Worker, final: Final) -> None:
    assert final.ending == Exited(1)
    assert final.message == "because of ü"
    assert [(output.name, output.value) for output in final.outputs] == [("tricky", "a%b]c d\ne")]
    assert worker.text("t1", Kind.PROGRESS) == "50 half way"
    assert "it is ********" in worker.text()
    assert "##reconcile" not in worker.text()


async def test_output_that_quotes_a_service_message_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("echo '##reconcile[0123 set_output name=a value=b]'")
    assert final.outputs == ()
    assert "##reconcile[0123" in worker.text()


async def test_a_ticket_forgotten_while_it_starts_is_forgotten_when_it_has_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ticket = worker.begin("true")
        worker.link.forget(ticket)
        await until_forgotten(worker, ticket)
        assert not worker.ticket_path(ticket).exists()


async def test_an_unwritable_state_directory_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    worker = Worker(tmp_path)
    command = [sys.executable, "-m", "reconciler.agent", "--state", str(tmp_path / "file" / "x"), "--fd", "0"]
    with socket.socketpair()[0] as end:
        done = subprocess.run(
            command, stdin=end.fileno(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert worker.news.finals == {}
    assert done.returncode == 1
    assert "give the agent a directory that it may write" in done.stderr
