"""The nursery: a small process with one thread that forks shims, so that a step costs a fork and no interpreter.

It is forked from the agent itself and ends with it. Shims do not: each leads a session of its own. One spare shim
always waits, warmed up, for the next ticket, so that not even the fork is waited for.
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

from reconciler.agent import errands
from reconciler.agent.directory import EMPTY_DIGEST, ShimClaim, TicketDirectory
from reconciler.agent.output import JournalWriter, Limiter, OutputStream
from reconciler.agent.processes import boot_id
from reconciler.agent.shim import Shim
from reconciler.protocol.journal import Kind
from reconciler.protocol.objects import dumped, loaded
from reconciler.protocol.tickets import Artifact, Exited, Final, Output, Secrets, TicketId, TicketSpec

REQUEST_BYTES_MAX = 4096  # one ticket's name
FAILURES_MAX = 5  # spares that died in a row before any request: starting more would only heat the machine
TAKEN, AGENT_GONE = b"t", b"g"
TRIES = 3  # to hand over a ticket before the agent gives up on its own machine


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

    def fork_shim(self, ticket: TicketId) -> socket.socket:
        """Ask for a shim and return the connection to it; it waits for `Start`. Raise `NurseryError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            for _ in range(TRIES):
                try:
                    socket.send_fds(self._channel, [ticket.encode()], [theirs.fileno()])
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
            _become((theirs.fileno(),), lambda: _tend(theirs, self._tickets, self._helpers))
        theirs.close()
        return ours, pid


def _tend(channel: socket.socket, tickets: str, helpers: str) -> None:
    """Keep one spare process waiting for the next request, until the agent is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries shims
    rehearse()
    gc.collect()
    gc.freeze()  # so that a fork copies no page for the collector's sake
    failures = 0
    while failures < FAILURES_MAX:
        read, write = os.pipe()
        if os.fork() == 0:
            _become((channel.fileno(), write), lambda: _wait_and_shim(channel, write, tickets, helpers))  # noqa: B023 - runs now
        os.close(write)
        word = os.read(read, 1)
        os.close(read)
        if word == AGENT_GONE:
            return
        failures = 0 if word == TAKEN else failures + 1


def _wait_and_shim(channel: socket.socket, word: int, tickets: str, helpers: str) -> None:
    """Wait for one request and become its shim; tell the nursery by one byte to fork the next spare."""
    os.setsid()
    os.chdir("/")
    gc.disable()  # a shim makes no cycles worth a walk through every object that it shares with the nursery
    rehearse()
    shim = Shim(helpers)
    request, descriptors, _, _ = socket.recv_fds(channel, REQUEST_BYTES_MAX, 1)
    channel.close()
    if not request:
        os.write(word, AGENT_GONE)
        return
    os.set_inheritable(descriptors[0], False)  # the script must not hold the way to its shim open
    with socket.socket(fileno=descriptors[0]) as first:
        shim.run(TicketDirectory(tickets, TicketId(request.decode())), first, lambda: _say_taken(word))


def _say_taken(word: int) -> None:
    """Let the next spare be forked: not before the script runs, since forking would take the processor from it."""
    with suppress(BrokenPipeError):  # the nursery died meanwhile; the agent starts another
        os.write(word, TAKEN)
    os.close(word)


def rehearse() -> None:
    """Do once what each attempt does, so that its code and memory are at hand when it counts."""
    spec = TicketSpec(TicketId("rehearsal"), ("sh",), "sh", "", EMPTY_DIGEST)
    final = Final(
        spec.ticket, Exited(0), 0, EMPTY_DIGEST, (Output("name", "value"),), (Artifact("a", 0, EMPTY_DIGEST),)
    )
    for thing in (spec, final, errands.Start(Secrets({"a": "b"}, ("c",))), ShimClaim(0, boot_id(), "")):
        loaded(type(thing), dumped(thing))
    stream = OutputStream(Kind.STDOUT, "nonce", [], JournalWriter(-1), Limiter(None), on_message=lambda _: None)
    stream.feed(b"##reconcile[")


def _become(kept: tuple[int, ...], life: Callable[[], None]) -> NoReturn:
    """Live another life in a forked process: nothing open but `kept` and the standard streams; never returns."""
    status = 1
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in kept:
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
