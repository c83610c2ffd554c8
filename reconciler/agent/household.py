"""A state directory in service: its lock, its helper functions, its nursery, and the loop that serves it to the end."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Sequence

from reconciler.agent import cgroups, isolations, language, memory
from reconciler.agent.faults import AgentError
from reconciler.agent.loop import Loop
from reconciler.agent.nursery import Nursery
from reconciler.agent.processes import boot_id
from reconciler.agent.talk import Talk
from reconciler.agent.wire import PlainWire
from reconciler.protocol import messages

LOCK_PATIENCE = 10.0  # seconds that the agent before us has to let go


def serve(state: str, descriptor: int, accounts: Sequence[str] = (), *, look: bool = False) -> None:
    """Serve the connection at `descriptor` until its end; raise `AgentError` and what `Talk` does.

    Steps may run under `accounts`; without any there is no isolation, and nothing is tried. Unless we shall `look` what
    the machine has, which takes as long as its slowest program needs to tell its version, nothing is told of it.
    """
    os.set_inheritable(descriptor, False)
    wire = PlainWire(socket.socket(fileno=descriptor))
    try:
        loop = opened(state, accounts, sandbox=bool(accounts))
        remembered = memory.woken(state)
        hello = messages.Hello(
            versions=(messages.PROTOCOL_VERSION,),
            store=remembered.store,
            boot=boot_id(),
            incarnation=remembered.incarnation,
            epoch=remembered.epoch,
            capabilities=_looked(state) if look else {},
        )

        def hear(word: object) -> None:
            if isinstance(word, messages.HelloOk):
                memory.remember(state, remembered, word.epoch)

        talk = Talk(state, wire, loop.custody, hello, hear)
        loop.begin(talk)
        while not talk.why:
            loop.turn()
        loop.end()
    except OSError as error:
        raise AgentError(f"{state}: {error.strerror or error}; give the agent a directory that it may write") from error


def _looked(state: str) -> dict[str, str]:
    from reconciler.agent import selfcheck

    return selfcheck.machine(state)


def run(state: str) -> None:
    """Run the enrolled agent until it is told to stop; raise `AgentError` where it cannot begin."""
    from reconciler.agent import daemon, selfcheck, settings
    from reconciler.agent.release import RELEASE

    try:
        found = settings.settings(state)
        loop = opened(state, found.accounts)
        self_checked, remembered = selfcheck.capabilities(state, loop.isolations), memory.woken(state)
        daemon.Daemon(state, found, remembered, loop, capabilities=self_checked, release=RELEASE).run()
    except OSError as error:
        raise AgentError(f"{state}: {error.strerror or error}; give the agent a directory that it may write") from error


def opened(state: str, accounts: Sequence[str], *, sandbox: bool = True) -> Loop:
    """Take a state directory into service until this process ends; raise `AgentError` if another agent has it."""
    helpers = os.path.join(state, "helpers")
    tickets = os.path.join(state, "tickets")
    os.makedirs(tickets, mode=0o700, exist_ok=True)
    _locked(os.path.join(state, "lock"))  # until this process ends
    language.install(helpers)
    cgroups.tidy_all()
    nursery = Nursery(tickets, helpers)
    return Loop(state, nursery, isolations.tried(state, accounts, sandbox=sandbox))


def _locked(path: str) -> int:
    """Return a descriptor that holds the lock at `path` until it is closed; raise `AgentError` if another agent does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise AgentError(f"{path}: another agent works on this directory; stop it or use another") from None
            time.sleep(0.01)  # flock knows no timeout
        else:
            return descriptor
