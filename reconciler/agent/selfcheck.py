"""The self-check: what this machine has for scripts, and what in it would hurt them."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import Optional

from reconciler.agent import cgroups, limits
from reconciler.agent.answers import answers
from reconciler.agent.isolations import Isolations
from reconciler.agent.versions import PATIENCE, versions, versions_kept

SANE_SINCE = 1_700_000_000  # a clock before that (2023) was never set
VOLATILE = {"tmpfs", "ramfs"}
SCRIPTS_END_WITH_US = {"control-group", "mixed"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `problem` says what is wrong with it and how to mend it, empty if nothing is."""

    name: str
    value: str
    problem: str = ""


def capabilities(state: str, isolations: Isolations) -> dict[str, str]:
    """Return what the server may know of this machine: system, programs with versions, isolations and limits that work."""
    found = machine(state)
    found.update(isolations.capabilities())
    found.update(limits.capabilities(), **{"onDisconnect.stop": ""})
    return found


def machine(state: str) -> dict[str, str]:
    """Return the system and the programs of this machine, with their versions."""
    system = os.uname()
    found = {"system": system.sysname, "kernel": system.release, "machine": system.machine}
    found["processors"] = str(os.cpu_count() or 1)
    if shutil.which("sh"):
        found["sh"] = ""
    found.update(versions_kept(state))
    return found


def findings(state: str, isolations: Isolations) -> list[Finding]:
    """Return what was found on this machine, and what in it would hurt scripts."""
    found = versions()
    interpreters = [Finding(name, found.get(name, "missing")) for name in ("bash", "python3", "openssl")]
    return [
        _state(state),
        Finding("sh", shutil.which("sh") or "missing", "" if shutil.which("sh") else "no script can run without it"),
        *interpreters,
        *(Finding(name, found.get(name, "missing")) for name in ("bwrap", "setpriv")),
        Finding("isolations", ", ".join(sorted(isolations.works))),
        *(Finding(f"no isolation {name}", problem) for name, problem in isolations.problems.items()),
        Finding("accounts", ", ".join(isolations.accounts) or "none"),
        Finding("cgroup", _cgroup()),
        *_limits(),
        _kill_mode(),
        _clock(),
    ]


def _state(state: str) -> Finding:
    value = os.path.abspath(state)
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        return Finding("state", value, "it cannot be written; give the agent a directory of its own")
    kind = _file_system(value)
    if kind in VOLATILE:
        return Finding("state", f"{value} ({kind})", "it is gone after a restart of the machine; put it on a disk")
    return Finding("state", f"{value} ({kind})" if kind else value)


def _file_system(path: str) -> str:
    """Return the kind of file system that holds `path`, empty where the system does not tell."""
    best = ("", "")
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            for line in file:
                _, place, kind = line.split()[:3]
                inside = path == place or path.startswith(place.rstrip("/") + "/")
                if inside and len(place) >= len(best[0]):
                    best = (place, kind)
    except OSError:
        return ""
    return best[1]


def _cgroup() -> str:
    return "one for each script kept apart" if cgroups.home() is not None else "none of version 2 that may be written"


def _limits() -> list[Finding]:
    problems = {name: limits.problem(name) for name in limits.CONTROLLER_OF}
    works = ", ".join(name for name, problem in problems.items() if not problem) or "none"
    return [
        Finding("limits", works),
        *(Finding(f"no limit {name}", problem) for name, problem in problems.items() if problem),
    ]


def _kill_mode() -> Finding:
    """Ask systemd whether it would kill scripts together with the agent."""
    unit, systemctl = _unit(), shutil.which("systemctl")
    if unit is None or systemctl is None:
        return Finding("service", "not under systemd")
    question = (systemctl, "show", "--property=KillMode", "--value", unit)
    said = answers({"KillMode": question}, PATIENCE)["KillMode"]
    if said is None:
        return Finding("service", unit)
    mode = "" if " " in said.strip() else said.strip()  # an error is a sentence
    ends = mode in SCRIPTS_END_WITH_US
    problem = "systemd kills running scripts when the agent restarts; set KillMode=process in the unit" if ends else ""
    return Finding("service", f"{unit}, KillMode={mode or 'unknown'}", problem)


def _unit() -> Optional[str]:
    """Return the systemd service that this process or its agent belongs to."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            found = re.search(r"/([^/\s]+\.service)", file.read())
    except OSError:
        return None
    return found[1] if found else None


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return Finding("clock", shown, "" if now > SANE_SINCE else "it was never set; renewal needs it: start time sync")
