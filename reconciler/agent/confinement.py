"""Spawn under another account, in a sandbox or under limits: fork, enter a view of the files, become the account, execute.

The shim has one thread, so that a fork is safe. No program stands between us and the script's account that would load
what the script's environment names: whatever runs as root here is this module. Bubblewrap starts as the account
already, with an environment of ours; it gets the script's through a file in memory, never as arguments.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import NoReturn, Optional

from reconciler.agent import calls, cgroups
from reconciler.agent.accounts import Account

FAILURE_MAX = 1024  # bytes of the sentence that a child leaves which could not begin
HEEDED = (signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Bind = tuple[str, str]
"""A directory of ours and the place at which the script finds it."""


class NotConfinedError(Exception):
    """The script could not be confined and has not begun; the sentence says what did not work."""


@dataclass(frozen=True)
class Confinement:
    """How a script is kept apart: the account that it becomes, what it finds where, and the sandbox around it."""

    account: Optional[Account]
    binds: tuple[Bind, ...]
    sandbox: Optional[tuple[str, ...]] = None
    """Bubblewrap and its options, without the script's environment and command."""
    marks: tuple[tuple[str, str], ...] = ()
    """What bubblewrap itself bears in its environment, so that a sweep finds it."""
    group: str = ""
    """The cgroup that all its processes are in; empty if there is none."""
    limiting: tuple[str, ...] = ()
    """The cgroups that hold its limits."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return every cgroup of the script."""
        return tuple(dict.fromkeys(filter(None, (self.group, *self.limiting))))


@dataclass(frozen=True)
class Command:
    """What is executed, and where."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    work: str


def spawned(confinement: Confinement, command: Command, stdout: int, stderr: int) -> int:
    """Start the command confined, in a session of its own, and return its process; raise `NotConfinedError`."""
    told, telling = os.pipe()
    try:
        pid = cgroups.fork_into(confinement.group)
    except OSError as error:
        os.close(told)
        os.close(telling)
        raise NotConfinedError(f"no process can be started: {error.strerror}") from error
    if pid == 0:
        _become(confinement, command, (stdout, stderr), telling)
    os.close(telling)
    with open(told, "rb") as report:
        failure = report.read(FAILURE_MAX)  # its end comes with the exec
    if failure:
        os.waitpid(pid, 0)
        raise NotConfinedError(failure.decode("utf-8", "replace"))
    return pid


def _become(confinement: Confinement, command: Command, outputs: tuple[int, int], telling: int) -> NoReturn:
    """Live the child's life; never returns."""
    step = "it cannot be detached"
    try:
        os.setsid()
        _settle_streams(outputs)
        step = "it cannot enter its limits"
        for group in confinement.limiting:
            cgroups.enter(group)
        if confinement.account is not None:
            step = "its view of the files cannot be made (that takes CAP_SYS_ADMIN)"
            _enter_view(confinement.binds)
            step = f"it cannot become {confinement.account.name}"
            _become_account(confinement.account)
        if confinement.sandbox is None:
            step = f"{command.program} cannot be started"
            os.chdir(command.work)
            os.execve(command.program, command.arguments, command.environment)  # noqa: S606 - a fixed vector
        step = f"{confinement.sandbox[0]} cannot be started"
        os.chdir("/")
        options = _in_memory(command)
        inner = (*confinement.sandbox, "--args", str(options), "--", command.program, *command.arguments[1:])
        os.execve(confinement.sandbox[0], inner, dict(confinement.marks))  # noqa: S606 - a fixed vector
    except OSError as error:
        os.write(telling, f"{step}: {error.strerror}".encode()[:FAILURE_MAX])
    except ValueError as error:
        os.write(telling, f"{step}: {error}".encode()[:FAILURE_MAX])
    finally:
        os._exit(1)


def _settle_streams(outputs: tuple[int, int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for descriptor, stream in zip((nothing, *outputs), (0, 1, 2)):
        os.dup2(descriptor, stream)
    signal.set_wakeup_fd(-1)
    for number in HEEDED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _enter_view(binds: tuple[Bind, ...]) -> None:
    """See our directories at the script's places from now on: what lies above them is closed to the account."""
    calls.leave_mounts()
    for source, target in binds:
        calls.bind(source, target)


def _become_account(account: Account) -> None:
    """Give up everything that root can, for good; with the user ids the kernel takes every capability."""
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    calls.renounce_privileges()


def _in_memory(command: Command) -> int:
    """Return the descriptor of a file with the options that no other process may read."""
    words = ["--clearenv"]
    for name, value in command.environment.items():
        words += ["--setenv", name, value]
    words += ["--chdir", command.work]
    descriptor = os.memfd_create("options", 0)  # bubblewrap inherits it
    data = memoryview(b"".join(os.fsencode(word) + b"\0" for word in words))
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
