"""Process trees: found through /proc by descent or by a cookie in the environment, and killed to the last one.

The shim is its tree's subreaper: whoever loses its parent becomes a child of the shim, so that "no children" proves
that nothing is left. After the shim's death only the cookie speaks.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from functools import lru_cache

PR_SET_CHILD_SUBREAPER = 36
COOKIE_NAME = "RECONCILE_COOKIE"
FREEZE_ROUNDS_MAX = 20  # a fork bomb is stopped by then, or the process table is full and it cannot fork


def become_subreaper() -> None:
    """Let orphans of our tree become our children, where the kernel knows that (Linux)."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):  # another system: the cookie remains
        return


def descendants(root: int) -> set[int]:
    """Return the processes below `root` that are no zombies."""
    children: dict[int, list[int]] = {}
    alive: set[int] = set()
    for pid in _processes():
        status = _status(pid)
        if status is not None:
            state, parent = status
            children.setdefault(parent, []).append(pid)
            if state not in "ZX":
                alive.add(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
        found.update(below)
        waiting += below
    return found & alive


def carriers_of(cookie: str) -> set[int]:
    """Return the processes, zombies aside, that were started with `cookie` in their environment."""
    wanted = f"{COOKIE_NAME}={cookie}".encode()
    found: set[int] = set()
    for pid in _processes():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue  # gone, or another user's
        if wanted in environment.split(b"\0"):
            found.add(pid)
    return found - {os.getpid()}


def tell(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of `pids` that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # gone meanwhile, or a set-user-id program: the sweep that follows sees it


def kill_tree(root: int) -> None:
    """Kill everything below `root`: first stop them all, so that none forks away, then kill."""
    stopped: set[int] = set()
    for _ in range(FREEZE_ROUNDS_MAX):
        fresh = descendants(root) - stopped
        if not fresh:
            break
        tell(fresh, signal.SIGSTOP)
        stopped |= fresh
    tell(stopped | descendants(root), signal.SIGKILL)


def sweep(cookie: str) -> bool:
    """Kill what carries `cookie` and say whether the last look found none."""
    stopped: set[int] = set()
    for _ in range(FREEZE_ROUNDS_MAX):
        fresh = carriers_of(cookie) - stopped
        if not fresh:
            break
        tell(fresh, signal.SIGSTOP)
        stopped |= fresh
    tell(stopped, signal.SIGKILL)
    return not carriers_of(cookie)


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Name this run of the machine: processes of another one are dead."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode().strip()
    except OSError:
        return "unknown"


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _status(pid: int) -> tuple[str, int] | None:
    """Return state letter and parent of `pid`, None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1])
