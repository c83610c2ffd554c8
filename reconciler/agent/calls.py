"""System calls that Python does not offer, by way of ctypes.

It is loaded at the first call: the process that forks shims needs it (`prepare`), an agent that has nothing to do would
hold its 400 kB for ever.
"""

from __future__ import annotations

import os
import signal
import struct
from functools import cache
from typing import Any

CLONE3 = 435  # the same number on every machine
CLONE_INTO_CGROUP = 0x200000000
CLONE_ARGUMENTS = struct.Struct("=11Q")  # flags, …, exit_signal at 4, …, cgroup at 10
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def prepare() -> None:
    """Load what the others need; a child pays for each page that it touches first."""
    _libc()
    _libc_with_interpreter()


def clone_into(group: str) -> int:
    """Fork, the child being born in the cgroup of version 2 at `group`; raise `OSError`."""
    libc = _libc_with_interpreter()
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        given = CLONE_ARGUMENTS.pack(CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, descriptor)
        pid = int(libc.syscall(CLONE3, given, _long(len(given))))
        if pid < 0:
            raise _error()
        return pid
    finally:
        os.close(descriptor)


def leave_mounts() -> None:
    """Have a view of the files of our own, in which others' mounts still appear; raise `OSError`."""
    _check(_libc().unshare(CLONE_NEWNS))
    _check(_libc().mount(None, b"/", None, _long(MS_REC | MS_SLAVE), None))


def bind(source: str, target: str) -> None:
    """Let `source` be seen at `target`; raise `OSError`."""
    _check(_libc().mount(os.fsencode(source), os.fsencode(target), None, _long(MS_BIND), None))


def renounce_privileges() -> None:
    """Let no program that we execute gain rights that we have not; raise `OSError`."""
    _check(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def become_subreaper() -> None:
    """Let orphans of our tree become our children; raise `OSError` or, on another system, `AttributeError`."""
    _check(_libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


@cache
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@cache
def _libc_with_interpreter() -> Any:
    """Return it with the interpreter kept during calls: parent and child go on as after fork(2)."""
    import ctypes

    return ctypes.PyDLL(None, use_errno=True)


def _long(value: int) -> Any:
    import ctypes

    return ctypes.c_ulong(value)


def _check(result: int) -> None:
    if result != 0:
        raise _error()


def _error() -> OSError:
    import ctypes

    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
