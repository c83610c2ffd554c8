"""Limits in real processes: what a script under one may use, what is said when it wants more, and what is left behind."""

# ruff: noqa: ASYNC110, ASYNC240 - the tests look at files of the kernel, which tell nobody

import asyncio
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.agent import cgroups, limits
from reconciler.agent.confinement import Command, Confinement, spawned
from reconciler.agent.directory import ShimClaim, TicketDirectory
from reconciler.agent.isolations import Isolations, NotGrantedError
from reconciler.agent.limits import NotLimitedError, Setting, handed_out, hold, laid, settings, shown
from reconciler.execute.carriers import THIS_AGENT
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import Cancelled, Exited, Limits, Lost, NotStarted, Signalled, TicketId
from tests.agent.installation import installed
from tests.agent.test_ticket_life import until_gone, until_written
from tests.agent.worker import PATIENCE, Worker, running, specification

ACCOUNT = "daemon"
AGENT = (*THIS_AGENT, "--account", ACCOUNT)
KEPT = pytest.mark.parametrize("kept", ["none", "user", "sandbox"])
NO_MORE = "processes of it were killed because together they used more than the memory limit of 48 MiB"

real = pytest.mark.skipif(
    os.geteuid() != 0 or (None in map(cgroups.home, cgroups.CONTROLLERS) and cgroups.home() is None),
    reason="limits are tried by root, where cgroups with controllers may be made",
)


def groups_of(worker: Worker, ticket: TicketId) -> tuple[str, ...]:
    """Return the cgroups that a shim has put down in its claim."""
    directory = TicketDirectory(str(worker.directory / "agent" / "tickets"), ticket)
    try:
        claim = directory.claim()
        assert isinstance(claim, ShimClaim)
        return claim.groups
    finally:
        directory.close()


async def until_left(groups: Iterable[str]) -> None:
    """Wait until none of these cgroups is there."""
    async with asyncio.timeout(PATIENCE):
        while any(map(os.path.isdir, groups)):
            await asyncio.sleep(0.01)


# Which file gets which text.


@pytest.mark.parametrize(
    ("name", "value", "unified", "wanted"),
    [
        ("memory", 1 << 29, True, ["memory.max 536870912", "memory.swap.max 0", "memory.oom.group 1"]),
        ("memory", 1 << 29, False, ["memory.limit_in_bytes 536870912", "memory.memsw.limit_in_bytes 536870912"]),
        ("cpus", 1.5, True, ["cpu.max 150000 100000"]),
        ("cpus", 0.01, False, ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 1000"]),
        ("processes", 200, True, ["pids.max 200"]),
        ("processes", 200, False, ["pids.max 200"]),
    ],
)
def test_each_limit_is_a_text_in_a_file(name: str, value: float, unified: bool, wanted: list[str]) -> None:
    found = settings(name, value, unified=unified)
    assert [f"{setting.file} {setting.text}" for setting in found] == wanted
    assert [setting.is_needed for setting in found] == [
        "swap" not in line and "oom" not in line for line in wanted
    ] or ([setting.file for setting in found if not setting.is_needed] == ["memory.memsw.limit_in_bytes"])


def test_a_file_that_is_not_needed_may_be_missing_and_another_one_may_not(tmp_path: Path) -> None:
    (tmp_path / "memory.max").touch()
    for setting in settings("memory", 1 << 29, unified=True):
        hold(str(tmp_path), setting)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.max"]
    assert (tmp_path / "memory.max").read_text() == "536870912"
    with pytest.raises(NotLimitedError) as found:
        hold(str(tmp_path), Setting("pids.max", "200"))
    assert str(found.value) == f"200 cannot be written to {tmp_path}/pids.max: No such file or directory"


def test_a_controller_is_handed_out_once(tmp_path: Path) -> None:
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu memory\n")
    handed_out(str(tmp_path), "memory")
    assert control.read_text() == "cpu memory\n"
    control.write_text("")
    handed_out(str(tmp_path), "pids")
    assert control.read_text() == "+pids"


@pytest.mark.parametrize(
    ("group", "root", "place", "path"),
    [
        ("/system.slice/a.service", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/a.service"),
        ("/", "/", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"),
        ("/docker/1f", "/docker/1f", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/pids"),
        ("/docker/1f/x", "/docker/1f", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/pids/x"),
        ("/docker/1f2", "/docker/1f", "/sys/fs/cgroup/pids", None),
    ],
)
def test_a_group_is_found_below_its_mount(group: str, root: str, place: str, path: str | None) -> None:
    assert cgroups.place_of(group, root, place) == path


@pytest.mark.parametrize(
    ("size", "text"), [(1 << 30, "1 GiB"), (48 << 20, "48 MiB"), (1 << 12, "4 KiB"), (5_000_001, "5000001 bytes")]
)
def test_sizes_are_said_as_people_write_them(size: int, text: str) -> None:
    assert shown(size) == text


@pytest.fixture
def version_2(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name a cgroup of version 2 in which limits are made with whatever controller is there; it is put back as it was."""
    home = cgroups.home()
    controllers = Path(home, "cgroup.controllers").read_text().split() if home is not None else []
    if home is None or not controllers:
        pytest.skip("no cgroups of version 2 with a controller that may be written")
    control = Path(home, "cgroup.subtree_control")
    before = control.read_text().split()
    try:
        handed_out(home, controllers[0])
    except NotLimitedError as error:
        pytest.skip(f"cgroups of version 2 hand out no controller here: {error}")
    monkeypatch.setitem(limits.CONTROLLER_OF, "processes", controllers[0])
    monkeypatch.setattr(limits, "settings", lambda *_, unified: (Setting("cgroup.max.depth", f"{unified:d}"),))
    parent = cgroups.made_in(home, f"test.{os.getpid()}")
    monkeypatch.setattr(cgroups, "home", lambda controller="": "" if controller else parent)
    yield parent
    for path in (*Path(parent).glob(f"{cgroups.OURS}*"), Path(parent)):
        path.rmdir()
    if controllers[0] not in before:
        control.write_text(f"-{controllers[0]}")


def started(groups: tuple[str, ...], script: str) -> tuple[int, int]:
    """Start a script in groups, and return its process and where it prints."""
    heard, telling = os.pipe()
    command = Command("/bin/sh", ("sh", "-c", script), {}, "/")
    pid = spawned(Confinement(None, (), group=groups[0], limiting=groups), command, telling, telling)
    os.close(telling)
    return pid, heard


@real
def test_under_version_2_a_script_is_born_into_the_group_that_holds_its_limits(version_2: str) -> None:
    groups = laid(Limits(processes=5), "script")
    assert groups == (f"{version_2}/{cgroups.OURS}script",)
    assert Path(groups[0], "cgroup.max.depth").read_text() == "1\n"
    pid, heard = started(groups, "grep ^0:: /proc/self/cgroup")
    with open(heard, encoding="ascii") as said:
        assert said.read().strip().endswith(f"/{cgroups.OURS}script")
    os.waitpid(pid, 0)
    pid, heard = started(groups, "exec sleep 600")
    while not cgroups.emptied(groups):
        os.waitpid(pid, 0)
    os.close(heard)
    cgroups.remove(groups)
    assert not os.path.exists(groups[0])


@real
def test_under_version_2_a_group_that_holds_processes_hands_out_no_limits(version_2: str) -> None:
    pid, heard = started((version_2,), "exec sleep 600")
    with pytest.raises(NotLimitedError) as found:
        laid(Limits(processes=5), "script")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(heard)
    assert str(found.value) == (
        f"the control group {version_2} holds processes and so cannot hand out limits; "
        "set Delegate=yes and DelegateSubgroup=agent in the agent's unit, and start it anew"
    )


# What a script may use.


@real
@KEPT
async def test_a_script_that_needs_more_memory_is_killed_and_told_why(tmp_path: Path, kept: str) -> None:
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run(
            "exec python3 -c 'kept = bytearray(200 << 20); kept[::4096] = b\"x\" * (200 << 8); print(len(kept))'",
            isolation=kept,
            limits=Limits(memory=48 << 20),
        )
        assert final.ending == (Exited(137) if kept == "sandbox" else Signalled(signal.SIGKILL))
        assert final.message == NO_MORE
        assert worker.text("t1", Kind.SYSTEM) == f"{NO_MORE}\n"
        assert worker.text() == ""
        await until_left(groups_of(worker, TicketId("t1")))


TREE = """
import os, signal, sys
children = []
for _ in range(3):
    if (child := os.fork()) == 0:
        kept = b"x" * (30 << 20)
        signal.pause()
    children.append(child)
children.remove(os.wait()[0])
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
sys.exit(3)
"""


@real
async def test_memory_is_counted_over_the_whole_tree(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run(TREE, language="python", limits=Limits(memory=48 << 20))
        assert final.ending in (Exited(3), Signalled(signal.SIGKILL))  # version 2 kills the whole group
        assert final.message == NO_MORE


FORKS = """
import os, signal
children = []
try:
    while len(children) < 20:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except BlockingIOError:
    pass
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@real
@KEPT
async def test_a_script_has_no_more_processes_than_it_may(tmp_path: Path, kept: str) -> None:
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run(FORKS, language="python", isolation=kept, limits=Limits(processes=6))
        assert final.ending == Exited(0)
        assert worker.text() == ("5\n" if kept != "sandbox" else "3\n")  # two are the sandbox itself
        await worker.run(FORKS, ticket="t2", language="python", isolation=kept)
        assert worker.text("t2") == "20\n"


@real
@KEPT
async def test_a_script_has_no_more_of_the_processors_than_it_may(tmp_path: Path, kept: str) -> None:
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    async with running(tmp_path, AGENT) as worker:
        final = await worker.run(f"exec python3 -c '{spin}'", isolation=kept, limits=Limits(cpus=0.2))
        assert final.ending == Exited(0)
        assert final.usage.wall > 0.7  # of two tenths of a second of processor time, a fifth at a time


@real
async def test_a_script_under_limits_is_as_good_as_any_other(tmp_path: Path) -> None:
    script = """
    echo hello hunter2-hunter2; echo oops >&2; echo kept > kept.txt; set_output color 'deep blue'
    echo $GREETING $(umask) $(id -u); ls -l /proc/self/fd | grep -c -- '->'; exit 3
    """
    seen = []
    async with running(tmp_path) as worker:
        for number, limited in enumerate((None, Limits(1 << 30, 1.5, 200))):
            final = await worker.run(
                script,
                ticket=f"t{number}",
                limits=limited,
                artifacts=("*ept.txt",),
                environment={"GREETING": "good day"},
            )
            outputs = [(output.name, output.value) for output in final.outputs]
            names = [artifact.name for artifact in final.artifacts]
            seen.append((final.ending, outputs, names, final.message, sorted(worker.text(f"t{number}").splitlines())))
    assert seen[0] == seen[1]
    assert seen[0][:3] == (Exited(3), [("color", "deep blue")], ["kept.txt"])


@real
async def test_the_supervisor_is_in_no_group_of_the_script_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ticket = worker.begin("echo $$ > here; sleep 600", limits=Limits(1 << 30, 1.5, 200))
        here = worker.ticket_path(ticket) / "work" / "here"
        await until_written(here)
        groups = groups_of(worker, ticket)
        assert groups
        for group in groups:
            members = Path(group, "cgroup.procs").read_text().split()
            assert here.read_text().strip() in members
            assert {Path(f"/proc/{pid}/comm").read_text().strip() for pid in members} <= {"bash", "sleep"}
        worker.link.cancel(ticket, 0.0)
        assert (await worker.final(ticket)).ending == Cancelled()
        await until_left(groups)


@real
async def test_what_a_killed_shim_leaves_is_found_in_its_groups_and_they_go(tmp_path: Path) -> None:
    hiding = "exec -a hidden env -i setsid sh -c 'echo $$ > here; exec sleep 600'"
    async with running(tmp_path) as worker:
        ticket = worker.begin(f"({hiding}) & wait", limits=Limits(processes=50))
        here = worker.ticket_path(ticket) / "work" / "here"
        await until_written(here)
        hidden, groups = int(here.read_text()), groups_of(worker, ticket)
        shim = ShimClaim(*_claim(worker, ticket)).pid
        os.kill(shim, signal.SIGKILL)
        assert isinstance((await worker.final(ticket)).ending, Lost)
        await until_gone(hidden)
        await until_left(groups)


def _claim(worker: Worker, ticket: TicketId) -> tuple[int, str, str]:
    directory = TicketDirectory(str(worker.directory / "agent" / "tickets"), ticket)
    try:
        claim = directory.claim()
        assert isinstance(claim, ShimClaim)
        return claim.pid, claim.boot, claim.cookie
    finally:
        directory.close()


@real
async def test_groups_whose_shim_and_agent_died_go_at_the_agents_start(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        ticket = worker.begin("echo here > here; sleep 600", limits=Limits(processes=50))
        await until_written(worker.ticket_path(ticket) / "work" / "here")
        groups, shim, agent = groups_of(worker, ticket), _claim(worker, ticket)[0], worker.carrier.agent_pid
        assert agent is not None
        os.kill(agent, signal.SIGSTOP)
        os.kill(shim, signal.SIGKILL)
        os.kill(agent, signal.SIGKILL)
        assert isinstance((await worker.final(ticket)).ending, Lost)
        await until_left(groups)


@real
def test_old_groups_that_nobody_put_down_are_tidied_up() -> None:
    (group,) = laid(Limits(processes=5), f"forsaken.{os.getpid()}")
    cgroups.tidy_all()
    assert os.path.isdir(group), "a young one may be about to be entered"
    old = time.time() - 2 * cgroups.YOUNG
    os.utime(group, (old, old))
    cgroups.tidy_all()
    assert not os.path.isdir(group)


@real
async def test_a_limit_that_the_kernel_refuses_starts_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as worker:
        final = await worker.run("true", limits=Limits(processes=0, cpus=0.001))
        assert isinstance(final.ending, NotStarted)
        assert re.fullmatch(
            r"its limits cannot be held on this worker: \S+( 100000)? cannot be written to /\S+/cpu\.\w+: Invalid argument",
            final.ending.reason,
        )


# What is promised.


@real
def test_every_limit_is_tried_for_real_and_nothing_of_it_is_left() -> None:
    assert limits.capabilities() == {"limit.memory": "", "limit.cpus": "", "limit.processes": ""}
    homes = {cgroups.home(), *map(cgroups.home, cgroups.CONTROLLERS)} - {None}
    assert not [home for home in homes if os.path.isdir(f"{home}/{cgroups.OURS}trial.{os.getpid()}")]


@real
async def test_an_enrolled_agent_advertises_the_limits_that_work(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        hello = await (await server.peer()).greet()
        found = {name: value for name, value in hello.capabilities.items() if name.startswith(("limit.", "on"))}
        assert found == {"limit.memory": "", "limit.cpus": "", "limit.processes": "", "onDisconnect.stop": ""}
        assert re.search(r"^limits: +memory, cpus, processes$", agent.command("show").stdout, re.MULTILINE)


SELF_CHECK = """
import os, sys; sys.path.insert(0, sys.argv[1])
from reconciler.agent import isolations, selfcheck
from reconciler.protocol.tickets import Limits, TicketId, TicketSpec
spec = TicketSpec(TicketId("t"), ("sh",), "sh", "true", "", limits=Limits(processes=5))
try:
    isolations.Isolations().granted(spec)
except isolations.NotGrantedError as error:
    print(error)
for finding in selfcheck._limits():
    print(finding.name, finding.value, sep=": ")
"""


@real
def test_an_agent_that_may_make_no_groups_says_how_to_mend_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", SELF_CHECK, os.getcwd()],
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        env={},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    problem = (
        "its agent may write no control group that has the controller {}; start it as root, "
        "or as a service with Delegate=yes and DelegateSubgroup=agent"
    )
    assert done.stdout.splitlines() == [
        f"this worker cannot limit processes: {problem.format('pids')}",
        "limits: none",
        f"no limit memory: {problem.format('memory')}",
        f"no limit cpus: {problem.format('cpu')}",
        f"no limit processes: {problem.format('pids')}",
    ], done.stderr


@real
def test_what_cannot_be_limited_is_declined_before_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "problem", {"cpus": "it has none", "memory": ""}.__getitem__)
    with pytest.raises(NotGrantedError, match=r"^this worker cannot limit cpus: it has none$"):
        Isolations().granted(specification("true", limits=Limits(memory=1 << 30, cpus=1.5)))
    spec: dict[str, Any] = {"limits": Limits(memory=1 << 30)}
    assert Isolations().granted(specification("true", **spec)).limits == Limits(memory=1 << 30)
