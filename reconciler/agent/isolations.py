"""Which isolations work on this machine: each is tried before it is promised, and one that is asked for is never lowered."""

from __future__ import annotations

import os
import selectors
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from reconciler.agent import cgroups, confinement, durable, limits, rooms
from reconciler.agent.accounts import ROOT, NoAccountError
from reconciler.agent.confinement import Command, NotConfinedError
from reconciler.agent.directory import EMPTY_DIGEST
from reconciler.agent.processes import COOKIE_NAME
from reconciler.protocol.tickets import TicketId, TicketSpec

NOBODY = "nobody"
"""Whom a sandbox runs under where no account is allowed: it owns nothing anywhere."""

PATIENCE = 10.0  # seconds that a trial may take; one takes 10 ms
SAID_MAX = 4096  # bytes of what a trial says that are looked at
NOT_ROOT = "its agent is not root, and only root can run steps under another account"
WELL = "well"
LOOKS = f"""
secret=$1
. "$RECONCILE_HELPERS" || exit
echo {WELL} > "$TMPDIR/file" && cat "$TMPDIR/file" > file || exit
[ "$(pwd)" = {rooms.WORK} ] || {{ echo "its working directory is $(pwd)"; exit; }}
if cat "$secret" 2>/dev/null; then echo "it can read the agent's files"; exit; fi
[ "$2" = "" ] || [ "$(id -u)" = "$2" ] || {{ echo "it runs as $(id)"; exit; }}
while read -r name value; do
  case $name$value in CapEff:*[1-9a-f]*) [ "$2" = "" ] || {{ echo "it kept capabilities"; exit; }};; esac
done < /proc/self/status
if [ "$3" = sandbox ]; then
  set -- /proc/[0-9]*
  [ $# -le 5 ] || {{ echo "it sees other processes"; exit; }}
fi
cat file
"""
"""What a trial looks at: that it has what it was promised, and no more."""


class NotGrantedError(Exception):
    """The worker has not what a ticket asks for; the sentence says what, why and how to mend it."""


@dataclass(frozen=True)
class Isolations:
    """What was found by trying; `accounts` are those that this machine's owner allows to be run under."""

    accounts: tuple[str, ...] = ()
    works: frozenset[str] = frozenset({"none"})
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why each of the others does not work."""

    def capabilities(self) -> dict[str, str]:
        """Return them as the server is told; `isolation.user` names the accounts."""
        return {f"isolation.{name}": ",".join(self.accounts) if name == "user" else "" for name in sorted(self.works)}

    def granted(self, spec: TicketSpec) -> TicketSpec:
        """Return a ticket with the account that it will run under; raise `NotGrantedError`."""
        if spec.isolation not in self.works:
            why = self.problems.get(spec.isolation, "this release of the agent does not know it")
            raise NotGrantedError(f"this worker has no isolation {spec.isolation}: {why}")
        for name in limits.given(spec.limits) if spec.limits is not None else ():
            if problem := limits.problem(name):
                raise NotGrantedError(f"this worker cannot limit {name}: {problem}")
        if spec.run_as and os.geteuid() != ROOT:
            raise NotGrantedError(f"this worker does not run steps under the account {spec.run_as}: {NOT_ROOT}")
        if spec.run_as and (spec.isolation == "none" or spec.run_as not in self.accounts):
            allowed = ", ".join(self.accounts) or "none"
            raise NotGrantedError(
                f"this worker does not run steps under the account {spec.run_as}: its agent allows {allowed}; "
                'add it to "accounts" in agent.json there, and start the agent anew'
            )
        if spec.isolation == "none" or spec.run_as or os.geteuid() != ROOT:
            return spec
        return replace(spec, run_as=next(iter(self.accounts), NOBODY))


def tried(state: str, accounts: Sequence[str], *, sandbox: bool = True) -> Isolations:
    """Try each isolation for real and return what worked; before the first thread of this process.

    It must work with every one of `accounts`: a mistake in the settings, or root among them, is better seen now.
    """
    problems = {"user": _user_problem(state, accounts)}
    problems["sandbox"] = _sandbox_problem(state, accounts) if sandbox else "it is for enrolled agents"
    works = frozenset({"none", *(name for name, problem in problems.items() if not problem)})
    return Isolations(tuple(accounts), works, {name: problem for name, problem in problems.items() if problem})


def _user_problem(state: str, accounts: Sequence[str]) -> str:
    if os.geteuid() != ROOT:
        return NOT_ROOT
    if not accounts:
        return 'its agent allows no account; name one in "accounts" in agent.json there (enrol --account NAME does)'
    return _first_problem(state, accounts, "user")


def _sandbox_problem(state: str, accounts: Sequence[str]) -> str:
    return _first_problem(state, accounts if accounts and os.geteuid() == ROOT else (NOBODY,), "sandbox")


def _first_problem(state: str, accounts: Sequence[str], isolation: str) -> str:
    for account in accounts:
        if problem := _problem(state, account, isolation):
            return f"{account}: {problem}" if len(accounts) > 1 else problem
    return ""


def _problem(state: str, account: str, isolation: str) -> str:
    """Say what is wrong with an isolation, or nothing."""
    path = os.path.join(state, f"trial.{os.getpid()}")
    try:
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        said = _said(state, path, account, isolation)
    except (NotConfinedError, NoAccountError, rooms.NoSandboxError) as error:
        return str(error)
    except OSError as error:
        return f"it cannot be tried: {error.strerror}"
    finally:
        shutil.rmtree(path, ignore_errors=True)
    if said == WELL:
        return ""
    return f"a trial of it failed: {said}" if said else "a trial of it said nothing"


def _said(state: str, path: str, account: str, isolation: str) -> str:
    """Run the trial as a ticket's script would run, and return what it said."""
    spec = TicketSpec(TicketId("trial"), ("sh",), "sh", None, EMPTY_DIGEST, isolation=isolation, run_as=account)
    marks = {COOKIE_NAME: f"trial.{os.getpid()}"}
    room = rooms.closed_room(path, spec, os.path.join(state, "helpers"), marks)
    kept = room.confinement
    assert kept is not None, "a closed room has a confinement"
    rooms.furnish(path, "script.sh", LOOKS.encode(), kept)
    secret = os.path.join(path, "secret")
    os.close(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, durable.FILE_MODE))
    owner = "" if kept.account is None else str(kept.account.uid)
    environment = {
        **room.environment,
        "TMPDIR": room.tmp,
        "RECONCILE_HELPERS": os.path.join(room.helpers, "step.sh"),
    }
    command = Command("/bin/sh", ("sh", room.script, secret, owner, isolation), environment, room.work)
    heard, said = os.pipe()
    try:
        pid = confinement.spawned(kept, command, said, said)
    finally:
        os.close(said)
    with open(heard, "rb") as answer:
        text = _heard(answer.fileno(), pid)
    deadline = time.monotonic() + PATIENCE
    while not cgroups.emptied([kept.group]) and time.monotonic() < deadline:
        time.sleep(0.001)  # the inside of a sandbox ends a moment after its outside, and nobody tells
    cgroups.remove([kept.group])
    return text


def _heard(descriptor: int, pid: int) -> str:
    """Return what a trial says until its end; one that takes too long is killed."""
    deadline = time.monotonic() + PATIENCE
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while len(said) < SAID_MAX and selector.select(max(0.0, deadline - time.monotonic())):
            data = os.read(descriptor, SAID_MAX)
            if not data:
                break
            said += data
        else:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
    os.waitpid(pid, 0)
    return said.decode("utf-8", "replace").strip().replace("\n", "; ")
