"""Isolations in real processes: what a script under another account or in a sandbox can reach, and what it cannot."""

# ruff: noqa: ASYNC110, ASYNC240 - the tests look at files and processes of others, which tell nobody

import asyncio
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.agent.cgroups import made, remove
from reconciler.agent.isolations import Isolations, NotGrantedError, tried
from reconciler.agent.language import install
from reconciler.agent.rooms import WORK
from reconciler.execute.carriers import THIS_AGENT
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import (
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Secrets,
    Signalled,
    TicketId,
    TicketSpec,
    TimedOut,
)
from tests.agent.installation import installed
from tests.agent.test_ticket_life import until_gone, until_written
from tests.agent.worker import PATIENCE, Worker, running, specification

ACCOUNT, OTHER = "daemon", "nobody"
AGENT = (*THIS_AGENT, "--account", ACCOUNT, "--account", OTHER)
CLOSED = pytest.mark.parametrize("isolation", ["user", "sandbox"])

pytestmark = [
    pytest.mark.end_to_end,  # an agent that tries its isolations is started in each
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run scripts under another account"),
]


def commands() -> dict[int, bytes]:
    """Return the command line of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes()
        except OSError:
            continue  # gone
    return found


def bearers(mark: str) -> list[int]:
    """Return the processes that bear a mark in their command line."""
    return [pid for pid, command in commands().items() if mark.encode() in command]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


async def said(worker: Worker, script: str, **more: Any) -> str:
    """Run a script to its end and return what it printed."""
    ticket = f"t{len(worker.news.finals) + 1}"
    await worker.run(script, ticket=ticket, **more)
    return worker.text(ticket)


@CLOSED
async def test_a_script_runs_under_the_account_that_is_asked_for(tmp_path: Path, isolation: str) -> None:
    async with running(tmp_path, AGENT) as worker:
        text = await said(worker, "id -u; id -g; echo $USER $LOGNAME", isolation=isolation, run_as=OTHER)
        owner = pwd.getpwnam(OTHER)
        assert text.split() == [str(owner.pw_uid), str(owner.pw_gid), OTHER, OTHER]


@CLOSED
async def test_without_an_account_the_first_that_the_machine_allows_is_taken(tmp_path: Path, isolation: str) -> None:
    async with running(tmp_path, AGENT) as worker:
        assert (await said(worker, "echo $USER", isolation=isolation)).split() == [ACCOUNT]


@CLOSED
@pytest.mark.parametrize("language", ["bash", "sh"])
async def test_a_script_kept_apart_is_as_good_as_any_other(tmp_path: Path, isolation: str, language: str) -> None:
    script = """
    echo hello hunter2-hunter2; echo oops >&2; cd "$PWD"; echo kept > kept.txt; echo called > called.txt
    test -n "$(mktemp)"; set_output color 'deep blue'; set_output key tok-en-1 --sensitive; add_artifact "$PWD/called.txt" named
    echo $GREETING tok-en-1; exit 3
    """
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run(
            script,
            language=language,
            isolation=isolation,
            artifacts=("*ept.txt",),
            environment={"GREETING": "good day"},
            secrets=Secrets({"SECRET": "hunter2-hunter2"}, ("hunter2-hunter2",)),
        )
        assert final.ending == Exited(3)
        assert sorted(worker.text().splitlines()) == ["good day ********", "hello ********", "oops"]
        assert {output.name: output.value for output in final.outputs} == {"color": "deep blue", "key": "tok-en-1"}
        assert {artifact.name for artifact in final.artifacts} == {"kept.txt", "named"}
        assert not (worker.ticket_path(TicketId("t1")) / "work").exists()


@CLOSED
async def test_a_python_script_finds_its_helpers_and_a_large_one_its_text(tmp_path: Path, isolation: str) -> None:
    script = "import step\nstep.set_output('a', 'b')\n" + "#" * 200_000
    async with running(tmp_path, AGENT) as worker:
        whole = specification(script, language="python", isolation=isolation, interpreter=("/usr/bin/python3", "-u"))
        path = worker.blobs / whole.script_digest[:2] / whole.script_digest
        path.parent.mkdir(parents=True)
        path.write_text(script)
        worker.link.offer(TicketSpec(**{**vars(whole), "script": None}))
        worker.link.start(whole.ticket, Secrets())
        final = await worker.final(whole.ticket)
        assert [(output.name, output.value) for output in final.outputs] == [("a", "b")]


@CLOSED
async def test_a_script_reads_neither_the_agents_files_nor_those_of_another_script(
    tmp_path: Path, isolation: str
) -> None:
    async with running(tmp_path, AGENT) as worker:
        secret = tmp_path / "agent" / "key.pem"
        secret.write_text("the agent's key\n")
        secret.chmod(0o600)
        victim = worker.begin("echo private > private; sleep 600", ticket="victim", isolation=isolation, run_as=OTHER)
        private = worker.ticket_path(victim) / "work" / "private"
        await until_written(private)
        script = f"""
        for path in {secret} {private} {tmp_path}/agent/tickets {WORK}/private; do
          ls -d "$path" 2>/dev/null && cat "$path" 2>/dev/null
        done
        for process in /proc/[0-9]*; do
          cat "$process/cwd/private" "$process/root{WORK}/private" 2>/dev/null
          tr '\\0' '\\n' < "$process/environ" 2>/dev/null | grep RECONCILE_TICKET=victim
        done
        ls -A {WORK}; exit 0
        """
        assert (await said(worker, script, isolation=isolation, run_as=ACCOUNT, language="sh")) == ""
        worker.link.cancel(victim, 0.0)
        await worker.final(victim)


async def test_scripts_in_sandboxes_are_apart_even_under_one_account(tmp_path: Path) -> None:
    async with running(tmp_path, AGENT) as worker:
        victim = worker.begin("echo private > private; sleep 600", ticket="victim", isolation="sandbox")
        await until_written(worker.ticket_path(victim) / "work" / "private")
        script = """
        kill -9 -1 2>/dev/null; cat /proc/[0-9]*/cwd/private 2>/dev/null; ls -d /proc/[0-9]* | wc -l
        """
        count = await said(worker, f"exec sh -c '{script.strip()}'", isolation="sandbox")
        assert int(count) <= 5
        assert "Running" in worker.news.states[victim]
        assert not worker.news.finals[victim]
        worker.link.cancel(victim, 0.0)
        assert (await worker.final(victim)).ending == Cancelled()


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Return a directory outside of every private place in which everybody may write."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


async def test_a_sandboxed_script_writes_nowhere_but_in_its_room(tmp_path: Path, open_to_all: Path) -> None:
    mark = f"reconciler-mark-{os.getpid()}"
    (open_to_all / "seen").touch()
    script = f"""
    ls {open_to_all}
    for place in {open_to_all} /tmp /var/tmp /run /home /root /dev/shm /etc /usr .; do
      touch $place/{mark} 2>/dev/null && echo $place
    done
    ls {tmp_path} 2>/dev/null; exit 0
    """
    async with running(tmp_path, AGENT) as worker:
        seen, *written = (await said(worker, script, isolation="sandbox")).split()
    assert seen == "seen"
    assert set(written) <= {"/tmp", "/run", "/home", "/root", "/dev/shm", "."}
    places = (open_to_all, "/tmp", "/run", "/home", "/root", "/dev/shm")
    assert not [place for place in places if os.path.exists(f"{place}/{mark}")]


@CLOSED
async def test_a_script_kept_apart_has_no_capability_and_gains_no_privilege(tmp_path: Path, isolation: str) -> None:
    script = "grep -E '^(CapEff|CapPrm|CapAmb|NoNewPrivs)' /proc/self/status; ls -l /proc/self/fd | grep -c -- '->'"
    async with running(tmp_path, AGENT) as worker:
        lines = (await said(worker, script, isolation=isolation, language="sh")).splitlines()
    facts = dict(line.split(":\t") for line in lines[:-1])
    assert facts == {"CapEff": "0" * 16, "CapPrm": "0" * 16, "CapAmb": "0" * 16, "NoNewPrivs": "1"}
    assert int(lines[-1]) == 4  # three streams and the listing itself


@CLOSED
async def test_what_the_environment_makes_the_loader_do_is_done_as_the_account(
    tmp_path: Path, open_to_all: Path, isolation: str
) -> None:
    environment = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": f"{open_to_all}/said"}
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run("true", isolation=isolation, environment=environment)
        assert final.ending == Exited(0)
    owners = {file.stat().st_uid for file in open_to_all.iterdir()}
    assert owners == ({pwd.getpwnam(ACCOUNT).pw_uid} if isolation == "user" else set())


async def test_no_secret_stands_in_a_command_line(tmp_path: Path) -> None:
    async with running(tmp_path, AGENT) as worker:
        secrets = Secrets({"SECRET": "hunter2-hunter2"}, ("hunter2-hunter2",))
        ticket = worker.begin("echo here > here; sleep 600", isolation="sandbox", secrets=secrets)
        await until_written(worker.ticket_path(ticket) / "work" / "here")
        assert not bearers("hunter2-hunter2")
        worker.link.cancel(ticket, 0.0)
        await worker.final(ticket)


@CLOSED
async def test_artifacts_are_the_scripts_own_files(tmp_path: Path, isolation: str) -> None:
    outside = tmp_path / "agent" / "outside"
    script = f"""
    echo own > own.txt; ln -s own.txt inner.txt; ln -s /etc/shadow shadow.txt; mkfifo pipe.txt; ln -s /dev/zero zero.txt
    ln -s {tmp_path}/agent up; ln -s /etc etc
    add_artifact up/outside; add_artifact /etc/shadow; add_artifact pipe.txt; add_artifact zero.txt
    """
    async with running(tmp_path, AGENT) as worker:
        outside.write_text("the agent's\n")
        final = await worker.run(script, isolation=isolation, artifacts=("*.txt", "etc/*"))
        assert {artifact.name for artifact in final.artifacts} == {"own.txt", "inner.txt"}
        complaints = worker.text("t1", Kind.SYSTEM)
        assert "artifact etc: lies outside" in complaints
        assert "shadow-" not in complaints  # nothing of what lies there is named


async def test_a_file_of_another_owner_is_no_artifact(tmp_path: Path) -> None:
    async with running(tmp_path, AGENT) as worker:
        gate = "until [ -e go ]; do sleep 0.02; done"
        ticket = worker.begin(f"echo ready > ready; {gate}", isolation="user", artifacts=("*",))
        work = worker.ticket_path(ticket) / "work"
        await until_written(work / "ready")
        (work / "planted").write_text("root's\n")  # as a hard link would be, where the system allows those
        (work / "go").touch()
        final = await worker.final(ticket)
        assert [artifact.name for artifact in final.artifacts] == ["ready"]
        assert "artifact planted: belongs to another account" in worker.text("t1", Kind.SYSTEM)


RUNAWAY = """
env -i setsid sh -c '(env -i sleep {mark} & env -i sleep {mark} &) ; exec env -i sleep {mark}' &
echo started > started
"""


@CLOSED
async def test_a_cancel_reaches_every_process_however_it_hides(tmp_path: Path, isolation: str) -> None:
    mark = f"6{os.getpid()}.25"
    async with running(tmp_path, AGENT) as worker:
        ticket = worker.begin(RUNAWAY.format(mark=mark) + "sleep 600", isolation=isolation)
        await until_written(worker.ticket_path(ticket) / "work" / "started")
        await until(lambda: len(bearers(mark)) >= 3)
        worker.link.cancel(ticket, 0.0)
        assert (await worker.final(ticket)).ending == Cancelled()
        assert not bearers(mark)


@CLOSED
async def test_a_timeout_kills_and_a_signal_may_be_heeded_before(tmp_path: Path, isolation: str) -> None:
    async with running(tmp_path, AGENT) as worker:
        script = "trap 'echo heeded; exit 0' TERM; echo ready; while :; do sleep 0.02 || :; done"
        final = await worker.run(script, isolation=isolation, timeout=0.5)
        assert final.ending == TimedOut()
        assert "heeded" in worker.text()
        ticket = worker.begin(script, ticket="t2", isolation=isolation)
        await until(lambda: "ready" in worker.text("t2"))
        worker.link.cancel(ticket, 5.0)
        assert (await worker.final(ticket)).ending == Cancelled()
        assert "heeded" in worker.text("t2")


async def test_a_sandbox_ends_with_its_script_and_with_its_shim(tmp_path: Path) -> None:
    mark = f"7{os.getpid()}.25"
    async with running(tmp_path, AGENT) as worker:
        await worker.run(RUNAWAY.format(mark=mark), isolation="sandbox")
        await until(lambda: not bearers(mark))
        ticket = worker.begin(RUNAWAY.format(mark=mark) + "sleep 600", ticket="t2", isolation="sandbox")
        await until(lambda: len(bearers(mark)) >= 3)
        os.kill(_shim_of(bearers("--unshare-pid")), signal.SIGKILL)
        assert isinstance((await worker.final(ticket)).ending, Lost)
        assert not bearers(mark)


def _shim_of(sandboxes: list[int]) -> int:
    """Return the parent of the outermost of these processes."""
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in sandboxes}
    return next(parent for parent in parents.values() if parent not in parents)


async def test_what_a_dead_shim_leaves_is_killed_however_it_hides(tmp_path: Path) -> None:
    mark = f"8{os.getpid()}.25"
    if not made("test"):
        pytest.skip("no cgroups of version 2 that may be written")
    remove([made("test")])
    async with running(tmp_path, AGENT) as worker:
        ticket = worker.begin(RUNAWAY.format(mark=mark) + "echo $PPID > pid; exec sleep 600", isolation="user")
        await until(lambda: len(bearers(mark)) >= 3)
        os.kill(int(await until_written(worker.ticket_path(ticket) / "work" / "pid")), signal.SIGKILL)
        assert isinstance((await worker.final(ticket)).ending, Lost)
        assert not bearers(mark)


async def test_a_signal_ends_a_script_under_an_account_as_it_does_any_other(tmp_path: Path) -> None:
    async with running(tmp_path, AGENT) as worker:
        assert (await worker.run("kill -KILL $$", isolation="user")).ending == Signalled(signal.SIGKILL)
        assert (await worker.run("kill -KILL $$", ticket="t2", isolation="sandbox")).ending == Exited(137)


async def test_a_killed_agent_leaves_a_sandboxed_script_running(tmp_path: Path) -> None:
    gate = "until [ -e go ]; do sleep 0.02; done; exit 4"
    async with running(tmp_path, AGENT) as worker:
        ticket = worker.begin(f"echo here > here; {gate}", isolation="sandbox")
        await until_written(worker.ticket_path(ticket) / "work" / "here")
        agent = worker.carrier.agent_pid
        assert agent is not None
        os.kill(agent, signal.SIGKILL)
        await until_gone(agent)
        (worker.ticket_path(ticket) / "work" / "go").touch()
        assert (await worker.final(ticket)).ending == Exited(4)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"isolation": "user"}, "this worker has no isolation user: its agent allows no account"),
        ({"isolation": "sandbox"}, "this worker has no isolation sandbox: "),
        ({"isolation": "moat"}, "this worker has no isolation moat: this release of the agent does not know it"),
        ({"run_as": ACCOUNT}, f"this worker does not run steps under the account {ACCOUNT}: its agent allows none"),
    ],
)
async def test_what_is_not_advertised_is_declined(tmp_path: Path, asked: dict[str, Any], sentence: str) -> None:
    async with running(tmp_path) as worker:
        offered = worker.begin("true", **asked)
        await worker.news.until(lambda: worker.news.states[offered])
        assert set(worker.news.states[offered]) == {"Declined"}
        assert not worker.ticket_path(offered).exists()
    with pytest.raises(NotGrantedError) as found:
        _isolations(sandbox="it is for enrolled agents").granted(specification("true", **asked))
    assert str(found.value).startswith(sentence)


def _isolations(**problems: str) -> Isolations:
    user = 'its agent allows no account; name one in "accounts" in agent.json there (enrol --account NAME does)'
    return Isolations(problems={"user": user, **problems})


async def test_an_enrolled_agent_advertises_what_works_and_keeps_its_accounts(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        refused = await agent.enrolling(server, authority.token(), "--account", "no-such-account")
        assert refused.returncode == 1
        assert "--account: there is no account no-such-account on this worker" in refused.stderr
        for options in (("--account", ACCOUNT, "--account", OTHER), ()):  # whoever enrols anew need not say it again
            await agent.enrolled(server, authority, *options)
        await agent.start()
        hello = await (await server.peer()).greet()
        found = {name: value for name, value in hello.capabilities.items() if name.startswith("isolation.")}
        assert found == {"isolation.none": "", "isolation.sandbox": "", "isolation.user": f"{ACCOUNT},{OTHER}"}
        shown = agent.command("show").stdout
        assert re.search(r"^isolations: +none, sandbox, user$", shown, re.MULTILINE)
        assert re.search(rf"^accounts: +{ACCOUNT}, {OTHER}$", shown, re.MULTILINE)


def test_an_account_that_the_machine_does_not_allow_is_refused() -> None:
    works = Isolations((ACCOUNT,), frozenset({"none", "user", "sandbox"}))
    spec = specification("true", isolation="user", run_as="root")
    with pytest.raises(NotGrantedError, match=f"under the account root: its agent allows {ACCOUNT}"):
        works.granted(spec)
    assert works.granted(specification("true", isolation="sandbox")).run_as == ACCOUNT
    assert (
        Isolations((), frozenset({"none", "sandbox"})).granted(specification("true", isolation="sandbox")).run_as
        == "nobody"
    )
    assert works.capabilities() == {"isolation.none": "", "isolation.sandbox": "", "isolation.user": ACCOUNT}


SPACE = """
apiVersion: reconciler/v1
kind: Environment
metadata: {name: production}
spec: {}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process: [{name: Who, script: {syntax: bash, body: "id -un; ls DATA 2>/dev/null || echo closed"}}]
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: shop-production}
spec: {project: shop, release: "1", environment: production}
"""


async def test_a_servers_own_machine_runs_steps_under_the_account_of_its_configuration(tmp_path: Path) -> None:
    data, space, configuration = tmp_path / "data", tmp_path / "space", tmp_path / "server.toml"
    space.mkdir()
    (space / "space.yaml").write_text(SPACE.replace("DATA", str(data)))
    configuration.write_text(f'[builtin_worker]\nrun_as = "{ACCOUNT}"\n')
    git = ("git", "-C", str(space), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=a")):
        await (await asyncio.create_subprocess_exec(*git, *command)).wait()
    reconcile = str(Path(sys.executable).with_name("reconcile"))
    places = ("-C", str(space), "--data", str(data))
    serving = ("serve", *places, "--new-state", "--config", str(configuration), "--agents", "127.0.0.1:0")
    with (tmp_path / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(reconcile, *serving, stderr=log, stdout=log)
    try:
        await until(lambda: "state=succeeded" in (tmp_path / "log").read_text())
        logs = await asyncio.create_subprocess_exec(reconcile, "logs", "shop-production", *places, stdout=PIPE)
        assert f"\n{ACCOUNT}\nclosed\n" in (await logs.communicate())[0].decode()
    finally:
        server.terminate()
        await server.wait()


def test_an_agent_that_is_not_root_has_sandboxes_alone(open_to_all: Path) -> None:
    text = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); state = sys.argv[2]\n"
        "from reconciler.agent import isolations, language\n"
        "os.makedirs(state, 0o700); language.install(state + '/helpers')\n"
        "print(isolations.tried(state, ['daemon']))\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", text, os.getcwd(), open_to_all / "state"],
        user=OTHER,
        group=pwd.getpwnam(OTHER).pw_gid,
        extra_groups=[],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "works=frozenset({'none', 'sandbox'})" in done.stdout.replace("'sandbox', 'none'", "'none', 'sandbox'")
    assert "its agent is not root" in done.stdout


def test_only_what_was_tried_is_advertised(tmp_path: Path) -> None:
    install(str(tmp_path / "helpers"))
    assert tried(str(tmp_path), [ACCOUNT]).works == {"none", "user", "sandbox"}
    assert tried(str(tmp_path), []).works == {"none", "sandbox"}
    assert "it can read the agent's files" in tried(str(tmp_path), ["root"]).problems["user"]
    mixed = tried(str(tmp_path), [ACCOUNT, "root"])
    assert mixed.works == {"none"}
    assert mixed.problems["sandbox"].startswith("root: a trial of it failed: ")
    assert "there is no account no-such-account" in tried(str(tmp_path), ["no-such-account"]).problems["user"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("trial")]


async def test_a_worker_without_its_program_or_place_says_so_before_it_starts(tmp_path: Path) -> None:
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run("true", isolation="user", interpreter=("/root/no-such-program",))
        assert isinstance(final.ending, NotStarted)
        assert "/root/no-such-program is not installed on this worker" in final.ending.reason
        private = tmp_path / "private"
        private.write_text("#!/bin/sh\n")
        private.chmod(0o700)
        final = await worker.run("true", ticket="t2", isolation="user", interpreter=(str(private),))
        assert isinstance(final.ending, NotStarted)
        assert final.ending.reason.endswith("private cannot be started: Permission denied")
