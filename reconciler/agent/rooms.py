"""Where a script lives, as it sees it: beside our files, or in a room that no other script has a door to.

An open room (isolation `none`) is the ticket's own directory. A closed one lies at `/run/reconciler` whatever the
ticket: there the script alone finds its `work`, its file and the helper functions, while the ticket's directory and
everything else of the agent is closed to its account or hidden from its sandbox.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from reconciler.agent import cgroups, language
from reconciler.agent.accounts import ROOT, Account, account
from reconciler.agent.confinement import Confinement
from reconciler.agent.directory import TicketDirectory, script_name
from reconciler.agent.processes import COOKIE_NAME
from reconciler.protocol.tickets import TicketSpec

PLACE = "/run/reconciler"
WORK, TMP, SCRIPT, HELPERS = (f"{PLACE}/{name}" for name in ("work", "tmp", "script", "helpers"))
PRIVATE, SHARED, READABLE = 0o700, 0o755, 0o644
HOMES = ("/home", "/root")
RESOLVER = "/etc/resolv.conf"


class NoSandboxError(Exception):
    """There is no program for sandboxes here."""

    def __init__(self) -> None:
        super().__init__("bwrap is not installed on this worker; install bubblewrap")


@dataclass(frozen=True)
class Room:
    """The places of one script as it sees them, the environment that it begins with, and how it is kept there."""

    work: str
    tmp: str
    script: str
    """The file that the interpreter is given."""
    helpers: str
    environment: dict[str, str]
    confinement: Optional[Confinement] = None


def room(directory: TicketDirectory, spec: TicketSpec, helpers: str, marks: dict[str, str]) -> Room:
    """Return the room of a ticket; raise `NoAccountError` or `NoSandboxError`."""
    if spec.isolation == "none":
        work = directory.inside("work")
        environment = language.minimal_environment(os.environ, home=work)
        return Room(work, directory.inside("tmp"), directory.inside(script_name(spec)), helpers, environment)
    return closed_room(directory.path, spec, helpers, marks)


def closed_room(directory: str, spec: TicketSpec, helpers: str, marks: dict[str, str]) -> Room:
    """Return a room whose files lie below `directory`, under `spec.run_as` where we are root."""
    owner = account(spec.run_as) if os.geteuid() == ROOT else None
    is_sandbox = spec.isolation == "sandbox"
    binds = (
        (os.path.join(directory, "work"), WORK),
        (os.path.join(directory, "tmp"), TMP),
        (os.path.join(directory, "script"), SCRIPT),
        (helpers, HELPERS),
    )
    sandbox = None
    if is_sandbox:
        seen = tuple((target, target) for _, target in binds) if owner else binds
        sandbox = _sandbox(seen, hidden=() if owner else (os.path.dirname(helpers),))
    return Room(
        work=WORK,
        tmp="/tmp" if is_sandbox else TMP,  # noqa: S108 - the sandbox has one of its own
        script=f"{SCRIPT}/{script_name(spec)}",
        helpers=HELPERS,
        environment=_environment(owner, home=WORK if is_sandbox or owner is None else owner.home),
        confinement=Confinement(owner, binds, sandbox, tuple(marks.items()), cgroups.made(marks[COOKIE_NAME])),
    )


def furnish(path: str, name: str, text: bytes, confinement: Confinement) -> None:
    """Make `work`, `tmp` and `script` of a closed room below `path`; the first two belong to the account."""
    owner = confinement.account
    if owner is not None:
        for place in (WORK, TMP, SCRIPT, HELPERS):
            os.makedirs(place, SHARED, exist_ok=True)
            os.chmod(place, SHARED)
        os.chmod(PLACE, SHARED)
    for inner, mode in (("work", PRIVATE), ("tmp", PRIVATE), ("script", SHARED)):
        inside = os.path.join(path, inner)
        with suppress(FileExistsError):  # a shim before us died before it made the claim
            os.mkdir(inside, mode)
        os.chmod(inside, mode)
        if owner is not None and mode == PRIVATE:
            os.chown(inside, owner.uid, owner.gid)
    file = os.path.join(path, "script", name)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, READABLE)
    with open(descriptor, "wb") as target:
        os.fchmod(descriptor, READABLE)
        target.write(text)


def as_we_see(path: str) -> str:
    """Return a path in a script's room relative to its working directory; any other as it is."""
    return path[len(WORK) + 1 :] if path.startswith(f"{WORK}/") else path


def _environment(owner: Optional[Account], home: str) -> dict[str, str]:
    """Return what a script in a closed room finds: nothing that speaks of the agent's own account."""
    known = {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
    if owner is not None:
        known.update(USER=owner.name, LOGNAME=owner.name)
    return language.minimal_environment(known, home=home)


def _sandbox(binds: tuple[tuple[str, str], ...], hidden: tuple[str, ...]) -> tuple[str, ...]:
    """Return bubblewrap and its options: the machine's files to read, and nothing to write but the room."""
    program = shutil.which("bwrap", path=language.DEFAULT_PATH)
    if program is None:
        raise NoSandboxError
    options = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-cgroup-try"]
    options += ["--die-with-parent", "--new-session"]
    options += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    for path in (*hidden, *filter(os.path.isdir, HOMES), "/run"):
        options += ["--tmpfs", os.path.realpath(path)]
    resolver = os.path.realpath(RESOLVER)
    if resolver.startswith("/run/"):
        options += ["--ro-bind-try", resolver, resolver]
    for source, target in binds:
        options += ["--bind" if target in (WORK, TMP) else "--ro-bind", source, "/tmp" if target == TMP else target]  # noqa: S108 - the room's own, bound there
    return (program, *options)
