"""A cgroup for each script that is kept apart, where version 2 is mounted and we may write there: nobody leaves it.

A script is born into its own, since moving a process there takes 15 ms. What of it outlives its shim, whatever it did
to hide, is found there and killed. Elsewhere processes are found by descent and by their environment alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import Optional

CLONE_INTO_CGROUP = 0x200000000
CLONE3 = 435  # the same number on every machine
LIBC = ctypes.PyDLL(None, use_errno=True)  # the interpreter stays ours: parent and child go on as after fork(2)
OURS = "reconciler"
YOUNG = 60.0  # seconds; from the making of a group to the fork into it are some milliseconds


class _CloneArguments(ctypes.Structure):
    """What clone3(2) is told."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack"),
            *("stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    )


def made(name: str) -> str:
    """Make the cgroup `name` and return its path, empty where that is not allowed."""
    parent = home()
    if parent is None:
        return ""
    path = os.path.join(parent, OURS, name)
    try:
        os.makedirs(path, exist_ok=True)
        _tidy(os.path.dirname(path))
    except OSError:
        return ""
    return path


def fork_into(group: str) -> int:
    """Fork; the child is born in `group`, if there is one. Raise `OSError`."""
    if group:
        with suppress(OSError):  # refused to us, or unknown to the kernel
            return _clone_into(group)
    return os.fork()


def emptied(group: str) -> bool:
    """Kill everything in `group` and say whether nothing is left; where there is none, nothing is."""
    if not group or not os.path.isdir(group):
        return True
    with suppress(OSError):  # a kernel before 5.14, or all is gone
        _write(os.path.join(group, "cgroup.kill"), b"1")
    members = _members(group)
    for pid in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not members


def remove(group: str) -> None:
    """Drop a group that nobody is in; one that still has members stays."""
    if group:
        with suppress(OSError):
            os.rmdir(group)


def _tidy(ours: str) -> None:
    """Drop the groups whose last process ended after its shim had gone; young ones may be about to be entered."""
    for entry in os.scandir(ours):
        if entry.is_dir() and time.time() - entry.stat().st_mtime > YOUNG:
            remove(entry.path)


def home() -> Optional[str]:
    """Return the directory of the cgroup that we are in, None if there is none or we may not write there."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            places = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as groups:
            own = [line.rstrip("\n").partition("::")[2] for line in groups if line.startswith("0::")]
    except OSError:
        return None
    if not places or not own:
        return None
    path = os.path.normpath(f"{places[0]}/{own[0]}")
    return path if os.access(path, os.W_OK) else None


def _clone_into(group: str) -> int:
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        arguments = _CloneArguments(flags=CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=descriptor)
        pid: int = LIBC.syscall(CLONE3, ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))
        if pid < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return pid
    finally:
        os.close(descriptor)


def _members(group: str) -> set[int]:
    found: set[int] = set()
    for directory, _, _ in os.walk(group):
        with suppress(OSError), open(os.path.join(directory, "cgroup.procs"), "rb") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
