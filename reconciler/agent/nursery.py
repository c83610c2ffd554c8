"""The nursery: a small process with one thread that forks shims, so that none has to start an interpreter.

It is forked from the agent itself and ends with it. Shims do not: each leads a session of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Callable, NoReturn

from reconciler.agent import calls, errands, shim
from reconciler.agent.directory import EMPTY_DIGEST, ShimClaim
from reconciler.agent.output import JournalWriter, Limiter, OutputStream
from reconciler.agent.processes import boot_id
from reconciler.protocol.journal import Kind
from reconciler.protocol.objects import dumped, loaded
from reconciler.protocol.tickets import Artifact, Exited, Final, Output, Secrets, TicketId, TicketSpec

REQUEST = b"a shim, please"  # it brings the shim's end of its connection to the agent
TRIES = 3  # to ask before the agent gives up on its own machine


class NurseryError(Exception):
    """No shim can be forked."""

    def __init__(self) -> None:
        super().__init__("no process can be started on this worker; it may have reached its limit of processes")


class Nursery:
    """The agent's end: asks for shims, and starts the nursery again when it has died."""

    def __init__(self, tickets: str, helpers: str) -> None:
        self._tickets = tickets
        self._helpers = helpers
        self._channel, self.pid = self._started()

    def fork_shim(self) -> socket.socket:
        """Ask for a shim and return the connection to it; it waits for `Start`. Raise `NurseryError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            for _ in range(TRIES):
                try:
                    socket.send_fds(self._channel, [REQUEST], [theirs.fileno()])
                    return ours
                except OSError:
                    self._restart()
        ours.close()
        raise NurseryError

    def _restart(self) -> None:
        self._channel.close()
        with suppress(ChildProcessError):  # somebody has buried it already
            os.waitpid(self.pid, 0)
        self._channel, self.pid = self._started()

    def _started(self) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError:
            raise NurseryError from None
        if pid == 0:
            _become(theirs.fileno(), lambda: _tend(theirs, self._tickets, self._helpers))
        theirs.close()
        return ours, pid


def _tend(channel: socket.socket, tickets: str, helpers: str) -> None:
    """Fork a shim for each request, until the agent is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries shims
    rehearse()
    gc.collect()
    gc.freeze()  # so that a fork copies no page for the collector's sake
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, len(REQUEST), 1)
        if not request:
            return
        with socket.socket(fileno=descriptors[0]) as agent, suppress(OSError):
            _fork_shim(
                agent, tickets, helpers
            )  # if no process is to be had, the connection ends and the agent asks again


def _fork_shim(agent: socket.socket, tickets: str, helpers: str) -> None:
    if os.fork() == 0:
        os.set_inheritable(agent.fileno(), False)  # the script must not hold the way to its shim open
        _become(agent.fileno(), lambda: _serve(agent, tickets, helpers))


def _serve(agent: socket.socket, tickets: str, helpers: str) -> None:
    os.setsid()
    os.chdir("/")
    gc.disable()  # in between tickets is a better time for it
    rehearse()
    shim.serve(agent, tickets, helpers)


def rehearse() -> None:
    """Do once what each attempt does, so that its code and memory are at hand when it counts."""
    calls.prepare()
    spec = TicketSpec(TicketId("rehearsal"), ("sh",), "sh", "", EMPTY_DIGEST)
    final = Final(
        spec.ticket, Exited(0), 0, EMPTY_DIGEST, (Output("name", "value"),), (Artifact("a", 0, EMPTY_DIGEST),)
    )
    start = errands.Start(spec.ticket, Secrets({"a": "b"}, ("c",)))
    for thing in (spec, final, start, errands.Done(final), ShimClaim(0, boot_id(), "")):
        loaded(type(thing), dumped(thing))
    stream = OutputStream(Kind.STDOUT, "nonce", [], JournalWriter(-1), Limiter(None), on_message=lambda _: None)
    stream.feed(b"##reconcile[")


def _become(kept: int, life: Callable[[], None]) -> NoReturn:
    """Live another life in a forked process: nothing open but `kept` and the standard streams; never returns."""
    status = 1
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != kept:
                _close(int(name))
        life()
        status = 0
    except Exception:  # noqa: BLE001 - the end of a process: whatever it was must be seen
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # the descriptor of the listing itself
