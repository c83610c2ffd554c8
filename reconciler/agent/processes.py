"""Process trees: found through /proc by descent or by a cookie in the environment, and killed to the last one.

The shim is its tree's subreaper: whoever loses its parent becomes a child of the shim, so that "no children" proves
that nothing is left. After the shim's death only the cookie speaks: it leads to its carriers, to their descendants and
to their sessions. A process that has left all of these and cleared its environment is not found then.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from reconciler.agent import calls

COOKIE_NAME = "RECONCILE_COOKIE"
FREEZE_ROUNDS_MAX = 20  # a fork bomb is stopped by then, or the process table is full and it cannot fork


@dataclass(frozen=True)
class _Process:
    """One process of this machine."""

    parent: int
    session: int
    is_alive: bool


def become_subreaper() -> None:
    """Let orphans of our tree become our children, where the kernel knows that (Linux)."""
    try:
        calls.become_subreaper()
    except (OSError, AttributeError):  # another system: the cookie remains
        return


def descendants(root: int) -> set[int]:
    """Return the processes below `root` that are no zombies."""
    table = _table()
    return {pid for pid in _below({root}, table) if table[pid].is_alive}


def relatives_of(cookie: str) -> set[int]:
    """Return the carriers of `cookie`, their descendants and whoever shares a session with them, zombies aside.

    A session is entered by birth alone, and every script begins one, so that none of these is a stranger.
    """
    carriers, table = carriers_of(cookie), _table()
    sessions = {table[pid].session for pid in carriers if pid in table}
    found = _below(carriers, table) | {pid for pid, process in table.items() if process.session in sessions}
    return carriers | {pid for pid in found if table[pid].is_alive}


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
    """Kill the relatives of `cookie` and say whether the last look found none."""
    stopped: set[int] = set()
    for _ in range(FREEZE_ROUNDS_MAX):
        fresh = relatives_of(cookie) - stopped
        if not fresh:
            break
        tell(fresh, signal.SIGSTOP)
        stopped |= fresh
    tell(stopped, signal.SIGKILL)
    return not relatives_of(cookie)


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


def _table() -> dict[int, _Process]:
    """Read who is there."""
    table: dict[int, _Process] = {}
    for pid in _processes():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent, _, session, *_ = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # gone
        table[pid] = _Process(int(parent), int(session), state not in (b"Z", b"X"))
    return table


def _below(roots: set[int], table: dict[int, _Process]) -> set[int]:
    """Return the descendants of `roots`."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
        found.update(below)
        waiting += below
    return found
