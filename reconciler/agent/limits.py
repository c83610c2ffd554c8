"""Limits of scripts: which file of which cgroup gets which text, and whether this machine holds them, found by trying."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import time
from contextlib import suppress
from functools import cache
from typing import NamedTuple, NoReturn, Optional, Union

from reconciler.agent import cgroups
from reconciler.protocol.tickets import Limits

CONTROLLER_OF = {"memory": "memory", "cpus": "cpu", "processes": "pids"}
PERIOD = 100_000  # microseconds in which a script may use its share of the processors
PATIENCE = 10.0  # seconds that a trial may take; that of cpus takes 0.1
TRIAL_BYTES = 8 << 20  # touched in the trial of memory; the kernel counts in batches of some hundred KiB
TRIALS = {"memory": Limits(memory=64 << 20), "cpus": Limits(cpus=0.05), "processes": Limits(processes=8)}
WELL = b"well"
NO_GROUP = (
    "its agent may write no control group that has the controller {controller}; start it as root, "
    "or as a service with Delegate=yes and DelegateSubgroup=agent"
)
FULL_GROUP = (
    "the control group {home} holds processes and so cannot hand out limits; "
    "set Delegate=yes and DelegateSubgroup=agent in the agent's unit, and start it anew"
)


class NotLimitedError(Exception):
    """A limit cannot be held on this machine; the sentence says why."""


class Setting(NamedTuple):
    """A file of a cgroup and the text that it gets; one that is not needed may be missing."""

    file: str
    text: str
    is_needed: bool = True


def given(limits: Limits) -> dict[str, Union[int, float]]:
    """Return the limits that are set, by name."""
    return {name: value for name in CONTROLLER_OF if (value := getattr(limits, name)) is not None}


def settings(name: str, value: float, *, unified: bool) -> tuple[Setting, ...]:
    """Return what makes a cgroup hold a limit, in order; `unified` is version 2."""
    if name == "processes":
        return (Setting("pids.max", str(value)),)
    if name == "cpus":
        quota = round(value * PERIOD)
        if unified:
            return (Setting("cpu.max", f"{quota} {PERIOD}"),)
        return (Setting("cpu.cfs_period_us", str(PERIOD)), Setting("cpu.cfs_quota_us", str(quota)))
    if unified:
        swap = Setting("memory.swap.max", "0", is_needed=False)
        return (Setting("memory.max", str(value)), swap, Setting("memory.oom.group", "1", is_needed=False))
    swap = Setting("memory.memsw.limit_in_bytes", str(value), is_needed=False)
    return (Setting("memory.limit_in_bytes", str(value)), swap)


def laid(limits: Limits, name: str) -> tuple[str, ...]:
    """Make the cgroups `name` that hold `limits`, and return them; raise `NotLimitedError`, leaving none."""
    groups: dict[str, None] = {}
    try:
        for limit, value in given(limits).items():
            parent, unified = _parent(CONTROLLER_OF[limit])
            group = _made(parent, name)
            groups[group] = None
            for setting in settings(limit, value, unified=unified):
                hold(group, setting)
    except NotLimitedError:
        cgroups.remove(groups)
        raise
    return tuple(groups)


def hold(group: str, setting: Setting) -> None:
    """Write one setting; raise `NotLimitedError`."""
    path = os.path.join(group, setting.file)
    if not setting.is_needed and not os.path.exists(path):
        return
    try:
        cgroups.write(path, setting.text.encode())
    except OSError as error:
        raise NotLimitedError(f"{setting.text} cannot be written to {path}: {error.strerror}") from error


def handed_out(home: str, controller: str) -> None:
    """See to it that groups in `home`, of version 2, have a controller; raise `NotLimitedError`."""
    path = os.path.join(home, "cgroup.subtree_control")
    try:
        if controller not in _read(path).split():
            cgroups.write(path, f"+{controller}".encode())
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise NotLimitedError(FULL_GROUP.format(home=home)) from error
        raise NotLimitedError(f"+{controller} cannot be written to {path}: {error.strerror}") from error


def oom_kills(groups: tuple[str, ...]) -> int:
    """Return how many processes the kernel has killed because `groups` had no memory left."""
    for group in groups:
        for file in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                return _counted(_read(os.path.join(group, file)), "oom_kill")
    return 0


def out_of_memory(memory: int) -> str:
    """Say that the kernel has killed for want of memory."""
    return f"processes of it were killed because together they used more than the memory limit of {shown(memory)}"


def shown(size: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << bits) == 0:
            return f"{size >> bits} {unit}"
    return f"{size} bytes"


def capabilities() -> dict[str, str]:
    """Return the limits that this machine holds, as the server is told."""
    return {f"limit.{name}": "" for name in CONTROLLER_OF if not problem(name)}


@cache
def problem(name: str) -> str:
    """Try a limit for real, once, and say why this machine does not hold it, or nothing; before the first thread."""
    try:
        (group,) = laid(TRIALS[name], f"trial.{os.getpid()}")
    except NotLimitedError as error:
        return str(error)
    try:
        said = _said(name, group)
    except OSError as error:
        return f"it cannot be tried: {error.strerror}"
    finally:
        cgroups.remove([group])
    return "" if said == WELL else f"a trial of it failed: {said.decode('utf-8', 'replace') or 'it said nothing'}"


def _parent(controller: str) -> tuple[str, bool]:
    """Return where groups with a controller are made, and whether that is version 2; raise `NotLimitedError`."""
    home = cgroups.home()
    if home is not None:
        with suppress(OSError):
            if controller in _read(os.path.join(home, "cgroup.controllers")).split():
                handed_out(home, controller)
                return home, True
    home = cgroups.home(controller)
    if home is None:
        raise NotLimitedError(NO_GROUP.format(controller=controller))
    return home, False


def _made(parent: str, name: str) -> str:
    cgroups.tidy(parent)
    try:
        return cgroups.made_in(parent, name)
    except OSError as error:
        raise NotLimitedError(f"no control group can be made in {parent}: {error.strerror}") from error


def _said(name: str, group: str) -> bytes:
    """Let a process live under the limit, and return what it says of it."""
    heard, telling = os.pipe()
    try:
        pid = cgroups.fork_into(group)
        if pid == 0:
            _look(name, group, telling)
    finally:
        os.close(telling)
    with open(heard, "rb") as answer, selectors.DefaultSelector() as selector:
        selector.register(answer, selectors.EVENT_READ)
        said = answer.read() if selector.select(PATIENCE) else b""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return said


def _look(name: str, group: str, telling: int) -> NoReturn:
    """Live the trial's life: see whether the kernel counts us; never returns."""
    try:
        cgroups.enter(group)
        found = _miss(name, group)
        os.write(telling, found.encode() if found else WELL)
    except OSError as error:
        os.write(telling, (error.strerror or "an error").encode())
    finally:
        os._exit(0)


def _miss(name: str, group: str) -> Optional[str]:
    """Say which count the kernel does not keep, None if it does."""
    if name == "processes":
        return None if _read(os.path.join(group, "pids.current")).strip() == "1" else "its processes are not counted"
    if name == "memory":
        kept = bytearray(TRIAL_BYTES)
        kept[:: 1 << 12] = b"x" * (TRIAL_BYTES >> 12)  # a page is counted when it is touched
        for file in ("memory.current", "memory.usage_in_bytes"):
            with suppress(OSError):
                counted = int(_read(os.path.join(group, file)))
                return None if counted >= TRIAL_BYTES // 2 else "its memory is not counted"
        return "its memory is not counted"
    deadline = time.monotonic() + PATIENCE / 2
    while time.monotonic() < deadline:
        if _counted(_read(os.path.join(group, "cpu.stat")), "nr_throttled"):
            return None
    return "its processor time is not limited"


def _counted(text: str, name: str) -> int:
    """Return a number of a file whose lines are a name and a number."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [name]), 0)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
