"""Arrivals: connections that threads have opened, handed to the loop, which is woken for them."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Callable, Union

from reconciler.agent.faults import AgentError, ConnectError, described


@dataclass(frozen=True)
class Arrived:
    """A connection stands, to an end that we trust; `turn` says in which try."""

    connection: ssl.SSLSocket
    where: str
    turn: int


@dataclass(frozen=True)
class Failed:
    """A try came to nothing."""

    error: AgentError
    turn: int


Arrival = Union[Arrived, Failed]


class Arrivals:
    """What threads have brought; as many wait as there are threads, which their starters limit."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._woken.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody arrived."""
        return self._woken.fileno()

    def begin(self, open_connection: Callable[[], tuple[ssl.SSLSocket, str]], turn: int) -> None:
        """Open a connection in a thread of its own; what `open_connection` returns or raises arrives."""

        def work() -> None:
            try:
                connection, where = open_connection()
            except AgentError as error:
                self._put(Failed(error, turn))
            except OSError as error:  # broken in between
                self._put(Failed(ConnectError("the connection", described(error)), turn))
            except ValueError as error:  # a host's name that cannot be one
                self._put(Failed(ConnectError("the connection", str(error)), turn))
            else:
                self._put(Arrived(connection, where, turn))

        threading.Thread(target=work, name="connecting", daemon=True).start()

    def take(self) -> list[Arrival]:
        """Return who arrived since the last call."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        found: list[Arrival] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found

    def _put(self, arrival: Arrival) -> None:
        self._queue.put(arrival)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups is woken enough
            self._waking.send(b"!")
