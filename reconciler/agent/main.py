"""The agent program: holds its state directory, starts the nursery, talks to the server until it is gone."""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import sys
import time
from typing import Optional

from reconciler.agent import language, memory
from reconciler.agent.nursery import Nursery
from reconciler.agent.talk import Talk
from reconciler.protocol.frames import FrameError
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, RejectedError

LOCK_PATIENCE = 10.0  # seconds that the agent before us has to let go


class AgentError(Exception):
    """The agent cannot work here; the sentence says why and how to mend it."""


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the agent on an open connection; return the exit status."""
    parser = argparse.ArgumentParser(prog="reconcile-agent", description="Runs the attempts of one worker.")
    parser.add_argument("--state", required=True, help="directory of the tickets; made if missing")
    parser.add_argument("--fd", type=int, required=True, help="open descriptor of the stream to the server")
    options = parser.parse_args(arguments)
    state = os.path.abspath(options.state)
    try:
        serve(state, options.fd)
    except (AgentError, RejectedError, ProtocolError, FrameError, MalformedError) as error:
        print(f"reconcile-agent: {error}", file=sys.stderr)  # noqa: T201 - a program's own voice
        return 1
    return 0


def serve(state: str, descriptor: int) -> None:
    """Serve the connection at `descriptor` with the tickets under `state`; raise `AgentError` and what `Talk` does."""
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    helpers = os.path.join(state, "helpers")
    tickets = os.path.join(state, "tickets")
    try:
        os.makedirs(tickets, mode=0o700, exist_ok=True)
        _locked(os.path.join(state, "lock"))  # until this process ends
        language.install(helpers)
        nursery = Nursery(tickets, helpers)
        Talk(state, memory.woken(state), nursery, connection).run()
    except OSError as error:
        raise AgentError(f"{state}: {error.strerror or error}; give the agent a directory that it may write") from error


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
