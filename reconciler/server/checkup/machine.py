"""Check the machine that a server runs on: its programs, its clock, and what keeps the server running."""

import ctypes
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.server.checkup.findings import Finding, doubtful, fine, wrong
from reconciler.server.configuration import Configuration
from reconciler.server.state.looking import engine_runs
from reconciler.store.directory import DataDirectory

PATIENCE = 10.0
"""Seconds that a program may take to answer."""

GIT_LEAST = (2, 34)
"""The first that verifies SSH signatures."""

TIME_ERROR = 5
"""What the kernel says of a clock that nothing keeps right: `man adjtimex`."""

UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")


def program_findings(configuration: Configuration) -> Iterator[Finding]:
    """Look for the programs that a server starts."""
    said = _said("git", "--version")
    version = tuple(map(int, re.findall(r"\d+", said or "")[:2]))
    if said is None:
        yield wrong("git", "git is not installed, and commits are read with it", "install it: apt-get install git")
    elif version < GIT_LEAST:
        least = ".".join(map(str, GIT_LEAST))
        yield doubtful("git", f"{said} is older than {least}", "install a newer one; SSH signatures need it")
    else:
        yield fine("git", said)
    sources = configuration.source
    if any("ssh" in source.url.partition("://")[0] or "@" in source.url for source in sources):
        yield _needed("ssh", "-V", "a source is fetched by SSH", "openssh-client")
    signatures = [source.signatures for source in sources if source.signatures is not None]
    if any(each.gpg_keys_file is not None for each in signatures):
        yield _needed("gpg", "--version", "signatures of a source are verified with it", "gnupg")
    if any(each.ssh_allowed_signers_file is not None for each in signatures):
        yield _needed("ssh-keygen", "-?", "signatures of a source are verified with it", "openssh-client")


def clock_findings() -> Iterator[Finding]:
    """Ask the kernel whether something keeps the clock right."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "ntp_adjtime"):
        return
    room = (ctypes.c_long * 64)()  # struct timex, all zero: it asks and changes nothing
    if libc.ntp_adjtime(ctypes.byref(room)) == TIME_ERROR:
        yield doubtful(
            "clock",
            "nothing keeps this machine's clock right, as far as the kernel knows",
            "run chrony or systemd-timesyncd: certificates and the times of logs depend on it",
        )
    else:
        yield fine("clock", "the clock is kept right")


def service_findings(files: DataDirectory, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Look at what keeps the live engine running: scripts of the built-in worker live as long as that lets them.

    A server of several spaces has an engine in a folder of each; what holds for one holds for all.
    """
    try:
        folders = [files, *(DataDirectory(each) for each in sorted(files.root.glob("*/")))]
        pid = next((each.lock.read_text().partition(" ")[0] for each in folders if engine_runs(each)), "")
    except OSError:
        return  # what cannot be read is told with the state
    if not pid:
        yield fine("engine", "no engine works on this state now")
        return
    inner, group = _of_process(proc / pid)
    unit = UNIT.search(group)
    if inner == "1" or _in_container(group):
        yield doubtful(
            "service",
            "the engine runs in a container, and when that ends, so do scripts on the built-in worker",
            "give work to agents on machines of their own, or run the server as a service of the machine",
        )
    elif unit is None:
        yield fine("service", f"an engine runs (pid {pid}), not as a service of systemd")
    else:
        yield _kill_mode(unit[1])


def _kill_mode(unit: str) -> Finding:
    mode = _said("systemctl", "show", "--property=KillMode", "--value", unit) or ""
    if mode in {"process", "none"}:
        return fine("service", f"an engine runs as {unit}, with KillMode={mode}")
    return wrong(
        "service",
        f"{unit} has KillMode={mode or 'control-group'}: a restart kills every script on the built-in worker",
        f"set KillMode=process in {unit}, then: systemctl daemon-reload",
    )


def _of_process(entry: Path) -> tuple[str, str]:
    """Return a process' id in its own namespace, and its control group."""
    inner = group = ""
    with suppress(OSError):
        ids = re.search(r"^NSpid:(.*)$", (entry / "status").read_text(), re.MULTILINE)
        inner = ids[1].split()[-1] if ids else ""
        group = (entry / "cgroup").read_text()
    return inner, group


def _in_container(group: str) -> bool:
    marks = ("/docker", "/libpod", "/kubepods", "/containerd")
    return any(mark in group for mark in marks) or any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))


def _needed(program: str, option: str, why: str, package: str) -> Finding:
    said = _said(program, option)
    if said is None:
        return wrong(program, f"{program} is not installed, and {why}", f"install it: apt-get install {package}")
    return fine(program, said if any(map(str.isdigit, said)) else f"{program} is there")


def _said(*command: str) -> str | None:
    """Return the first line that a program says, None where it is not there."""
    with suppress(FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
        return next(iter((done.stdout + done.stderr).splitlines()), "")
    return None
