"""Cgroups of scripts, of version 2 or 1: who is in one is found there, and held to its limits, whatever it does to hide.

A script is born into its own of version 2, since moving a process there takes 15 ms; into those of version 1, of which
each controller has a tree of its own, it goes before anything else. All lie beside each other in the group that the
agent is in; where that is a service's subgroup `agent`, in the service's, since a group of version 2 either holds
processes or hands out limits.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, Optional

from reconciler.agent import calls

OURS = "reconciler."
SUBGROUP = "agent"  # as DelegateSubgroup= of the unit names it
CONTROLLERS = ("memory", "cpu", "pids")
YOUNG = 60.0  # seconds; from the making of a group to the fork into it are some milliseconds


class _Mount(NamedTuple):
    """Where a hierarchy is mounted, and which part of it."""

    root: str
    place: str
    kind: str
    options: tuple[str, ...]


def made(name: str) -> str:
    """Make the cgroup of version 2 `name` and return its path, empty where that is not allowed."""
    parent = home()
    if parent is None:
        return ""
    try:
        tidy(parent)
        return made_in(parent, name)
    except OSError:
        return ""


def made_in(parent: str, name: str) -> str:
    """Make the cgroup `name` in `parent` and return its path; raise `OSError`."""
    path = os.path.join(parent, f"{OURS}{name}")
    os.makedirs(path, exist_ok=True)
    return path


def fork_into(group: str) -> int:
    """Fork; the child is born in `group`, if there is one. Raise `OSError`."""
    if group:
        with suppress(OSError):  # refused to us, or unknown to the kernel
            return calls.clone_into(group)
    return os.fork()


def enter(group: str) -> None:
    """Go into `group`, unless we were born there; raise `OSError`."""
    with open(os.path.join(group, "cgroup.procs"), "rb") as file:
        is_inside = str(os.getpid()).encode() in file.read().split()
    if not is_inside:
        write(os.path.join(group, "cgroup.procs"), b"0")


def emptied(groups: Iterable[str]) -> bool:
    """Kill everything in `groups` and say whether nothing is left; where there is none, nothing is."""
    left = False
    for group in groups:
        if not group or not os.path.isdir(group):
            continue
        with suppress(OSError):  # version 1, a kernel before 5.14, or all is gone
            write(os.path.join(group, "cgroup.kill"), b"1")
        for pid in _members(group):
            left = True
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return not left


def remove(groups: Iterable[str]) -> None:
    """Drop groups that nobody is in; one that still has members stays."""
    for group in groups:
        if group:
            with suppress(OSError):
                os.rmdir(group)


def tidy(parent: str) -> None:
    """Drop our groups whose last process ended after its shim had gone; young ones may be about to be entered."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(OURS) and time.time() - entry.stat().st_mtime > YOUNG:
                remove([entry.path])


def tidy_all() -> None:
    """Drop what is left of ours in every hierarchy."""
    for parent in {home(), *map(home, CONTROLLERS)}:
        if parent is not None:
            tidy(parent)


def home(controller: str = "") -> Optional[str]:
    """Return where groups are made, of version 2 or of a `controller` of version 1; None where we may not.

    The directory is that of the cgroup that we are in, or the one above, if ours is the subgroup of a service.
    """
    own = _own(controller)
    for mount in _mounts() if own is not None else ():
        is_it = mount.kind == "cgroup2" if not controller else controller in mount.options
        path = place_of(own or "", mount.root, mount.place) if is_it else None
        if path is None:
            continue
        if not controller and os.path.basename(path) == SUBGROUP and os.access(os.path.dirname(path), os.W_OK):
            return os.path.dirname(path)
        return path if os.access(path, os.W_OK) else None
    return None


def place_of(group: str, root: str, place: str) -> Optional[str]:
    """Return the directory of `group` in a hierarchy whose `root` is mounted at `place`; None if it is not below it."""
    if root == "/":
        return os.path.normpath(f"{place}/{group}")
    if group != root and not group.startswith(f"{root}/"):
        return None
    return os.path.normpath(f"{place}/{group[len(root) :]}")


def write(path: str, data: bytes) -> None:
    """Write a cgroup's file, which is there; raise `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _mounts() -> Iterator[_Mount]:
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3] if after.startswith("cgroup") else ("", "", "")
            if kind:
                yield _Mount(before.split()[3], before.split()[4], kind, tuple(options.split(",")))


def _own(controller: str) -> Optional[str]:
    """Return the name of the cgroup that we are in."""
    with suppress(OSError), open("/proc/self/cgroup", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _, controllers, group = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):  # version 2 has none
                return group
    return None


def _members(group: str) -> set[int]:
    found: set[int] = set()
    for directory, _, _ in os.walk(group):
        with suppress(OSError), open(os.path.join(directory, "cgroup.procs"), "rb") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found
