"""Supervisors of attempts without processes: the package's own shim, whose every step on disk is the world's choice."""

import os
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from reconciler.agent import errands
from reconciler.agent.attempt import Attempt
from reconciler.agent.directory import ShimClaim, TicketDirectory, not_started
from reconciler.agent.shim import Shim
from reconciler.agent.switchboard import Switchboard
from reconciler.protocol.tickets import Cancelled, Ending, Exited, TicketId, Usage

LOCK_TRIES = 3
"""Steps that a supervisor waits for the one before it to vanish."""


class Script(Protocol):
    """What is known of scripts, outside both ends."""

    def spawn(self, ticket: TicketId, cookie: str) -> list[bytes]:
        """Take that a script starts and return what it prints."""

    def exit(self, ticket: TicketId) -> int:
        """Take that a script ends and return its exit code."""

    def kill(self, ticket: TicketId) -> None:
        """Take that a script's tree is killed."""

    def wrote(self, ticket: TicketId, journal: bytes) -> None:
        """Take what the journal holds now."""

    def published(self, ticket: TicketId, ending: Ending) -> None:
        """Take that an ending is durable on the worker."""


class _Switchboard(Switchboard):
    """Leaves the signals of this process alone."""

    def _wake_on_children(self) -> None:
        self.has_news = lambda: bool(self._selector.select(0))


class _Shim(Shim):
    """Kills no processes, since there are none."""

    def stop(self, ending: Ending, grace: float) -> None:
        super().stop(ending, 0.0)


class Supervisor:
    """One supervisor: serves ticket after ticket, hears its agents between two steps, dies at any of them."""

    def __init__(self, agent: socket.socket, tickets: Path, boot: Callable[[], str], script: Script) -> None:
        self._tickets = str(tickets)
        self._boot = boot
        self._script = script
        self._board = _Switchboard()
        self._board.add(agent)
        self._orders: list[errands.Errand] = []
        self._open = ExitStack()
        self.lives = True
        self.next = ""
        """The step that comes next; empty while it waits for a ticket."""
        self._hears = True
        self._shim: _Shim | None = None
        self._life = self._serve()
        self._go_on()

    def hear(self) -> bool:
        """Take what agents say; say whether there was anything."""
        heard = self._hears and self._board.has_news()
        if heard:
            self._board.turn(0)
        if self._shim is not None and self._hears:
            self._listen(self._shim)
        if heard and not self.next:
            self._go_on()
        return heard

    def step(self) -> None:
        """Do the next step."""
        self._go_on()

    def die(self) -> None:
        """Vanish as a process does: everything open is closed, nothing else is done."""
        self.lives = False
        self.next = ""
        self._life.close()
        self._open.close()
        for channel in list(self._board._channels):
            channel.close()
        self._board._selector.close()

    def _go_on(self) -> None:
        try:
            self.next = next(self._life)
        except StopIteration:
            self.die()

    def _serve(self) -> Generator[str]:
        stays = True
        while stays:
            self._board.attend(self._orders.append, tuple)
            while not self._orders:
                if self._board.is_alone:
                    return
                yield ""
                while self._orders and not isinstance(self._orders[0], errands.Start):
                    del self._orders[0]
            start, *orders = self._orders
            self._orders.clear()
            stays = yield from self._attempt(start, orders)
            self._shim = None
            self._open.pop_all().close()

    def _attempt(self, start: errands.Start, orders: list[errands.Errand]) -> Generator[str, None, bool]:
        try:
            directory = TicketDirectory(self._tickets, start.ticket)
        except FileNotFoundError:
            return False
        self._open.callback(directory.close)
        self._hears = False
        lock = yield from self._locked(directory)
        if lock is None:
            return False
        self._open.callback(os.close, lock)
        spec = directory.spec()
        if spec is None or directory.claim() is not None:
            return False
        shim = _Shim(directory, start, self._board)
        self._board.attend(shim._hear, shim._greeting)
        for errand in orders:
            shim._hear(errand)
        if shim.stopping is not None:
            reason = "it was cancelled before it started"
            if directory.claim_void(reason):
                shim._finish(not_started(spec.ticket, reason))
            return False
        attempt = Attempt(directory, spec, start.secrets, "nonce")
        self._open.callback(attempt.close)
        yield "claim"
        if not directory.claim_for_shim(ShimClaim(1, self._boot(), start.ticket)):
            return False
        shim._attempt = attempt
        self._board.tell(errands.Started())
        yield "spawn"
        return (yield from self._watched(shim, attempt, start.ticket))

    def _locked(self, directory: TicketDirectory) -> Generator[str, None, int | None]:
        for _ in range(LOCK_TRIES):
            yield "lock"
            lock = directory.lock(0.0)
            if lock is not None:
                return lock
        return None

    def _watched(self, shim: _Shim, attempt: Attempt, ticket: TicketId) -> Generator[str, None, bool]:
        self._hears, self._shim = True, shim
        for piece in self._script.spawn(ticket, ticket):
            yield "print"
            if shim.stopping is not None:
                break
            attempt.feed(attempt.stdout, piece)
            self._wrote(shim, ticket)
            self._board.tell(errands.Grew(attempt.length))
        yield "exit"
        ending: Ending = Cancelled()
        if shim.stopping is None:
            ending = Exited(self._script.exit(ticket))
        else:
            self._script.kill(ticket)
        final, sensitive = attempt.ended(ending, Usage())
        self._wrote(shim, ticket)
        yield "publish"
        attempt.publish(final)
        self._script.published(ticket, final.ending)
        yield "tell"
        stays = shim._listener is None
        shim._finish(final, sensitive, stays=stays)
        return stays

    def _listen(self, shim: _Shim) -> None:
        """Open the way for another agent where none is connected, as the shim does before it waits."""
        if self._board.is_alone and shim._listener is None and shim._listens() and shim._listener is not None:
            self._open.callback(_closed, self._board, shim._listener)

    def _wrote(self, shim: _Shim, ticket: TicketId) -> None:
        self._script.wrote(ticket, Path(shim._directory.inside("journal")).read_bytes())


def _closed(board: Switchboard, listener: socket.socket) -> None:
    if listener.fileno() >= 0:
        board._selector.unregister(listener)
        listener.close()
