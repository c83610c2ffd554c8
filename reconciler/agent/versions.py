"""The programs of this machine with their versions: each is asked once, and again when its file is another.

Large programs take half a second to tell their version, which an agent that starts again need not wait for. A script,
and a link to a program of another name (snap, mise), may start something else tomorrow: they are asked each time.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from reconciler.agent import durable
from reconciler.agent.answers import answers
from reconciler.protocol.objects import MalformedError, dumped, loaded

KEPT_IN = "versions"
PATIENCE = 5.0  # seconds that a program may take to tell its version
UNTOLD = "does not tell its version"
TOLD_MAX = 80  # letters of what a program says of itself
VERSION = re.compile(r"\d+(\.\d+)+[\w.+~-]*")
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "bash": ("--version",),
    "python3": ("--version",),
    "pwsh": ("--version",),
    "git": ("--version",),
    "docker": ("--version",),
    "podman": ("--version",),
    "terraform": ("version",),
    "kubectl": ("version", "--client"),
    "helm": ("version", "--short"),
    "aws": ("--version",),
    "az": ("--version",),
    "openssl": ("version",),
    "bwrap": ("--version",),
    "setpriv": ("--version",),
}
"""What is looked for, and how each is asked for its version."""


@dataclass(frozen=True)
class _Told:
    """What a program has told; `mark` is that of its file at that time."""

    mark: str
    version: str


@dataclass(frozen=True)
class _Kept:
    """The content of the file `versions`."""

    programs: dict[str, _Told]


def versions() -> dict[str, str]:
    """Ask every program that is found, and return their versions."""
    return _asked({name: path for name in PROGRAMS for path in [shutil.which(name)] if path})


def versions_kept(state: str) -> dict[str, str]:
    """Return the same, but ask only what the directory `state` does not know yet; what is told is kept there."""
    found = {name: path for name in PROGRAMS for path in [shutil.which(name)] if path}
    marks = {
        name: _mark(name, path) for name, path in found.items()
    }  # taken first: a change meanwhile is noticed later
    kept = _kept(state)
    known = {name: kept[name].version for name in found if name in kept and kept[name].mark == marks[name] != ""}
    told = {**known, **_asked({name: path for name, path in found.items() if name not in known})}
    keeps = {name: _Told(marks[name], told[name]) for name in found if marks[name] and told[name] != UNTOLD}
    if keeps != kept:
        _keep(state, keeps)
    return {name: told[name] for name in found}


def _asked(paths: Mapping[str, str]) -> dict[str, str]:
    said = answers({name: (path, *PROGRAMS[name]) for name, path in paths.items()}, PATIENCE)
    return {name: _version(text) if text is not None else UNTOLD for name, text in said.items()}


def _version(text: str) -> str:
    found = VERSION.search(text)
    return found[0] if found else text.strip()[:TOLD_MAX].partition("\n")[0]


def _mark(name: str, path: str) -> str:
    """Return what changes when a program's file is another; empty for one whose file does not decide its version."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            is_script, status = file.read(2) == b"#!", os.fstat(file.fileno())
    except OSError:  # one may be allowed to start a program, and not to read it
        return ""
    if is_script or not os.path.basename(real).startswith(name):
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_dev}:{status.st_ino} {real}"


def _kept(state: str) -> Mapping[str, _Told]:
    try:
        with open(os.path.join(state, KEPT_IN), "rb") as file:
            return loaded(_Kept, file.read()).programs
    except (OSError, MalformedError):
        return {}


def _keep(state: str, programs: dict[str, _Told]) -> None:
    """Write what is known; an agent that cannot, such as one whose disk is full, asks again at its next start."""
    with suppress(OSError):
        directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            durable.replace(directory, KEPT_IN, dumped(_Kept(programs)))
        finally:
            os.close(directory)
