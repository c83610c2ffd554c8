"""Wires: the byte stream to the server, which never makes the loop wait; the one under TLS is in `tls`."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Optional, Protocol

READ_BYTES = 64 << 10
UNACKNOWLEDGED_MAX = 15_000  # milliseconds that sent bytes may stay unanswered; three heartbeats
NOT_SENT_MAX = 128 << 10  # bytes in the kernel that are not on their way yet: a heartbeat waits behind no more
TCP_USER_TIMEOUT = 18  # of Linux; the module socket names it only where it was built with new headers
TCP_NOTSENT_LOWAT = 25


class Wire(Protocol):
    """One connection that is open and, if it is to be, known to be the server's."""

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""

    def receive(self) -> Optional[bytes]:
        """Return what came, None if nothing has for now, nothing (b"") at the end; raise OSError when it broke."""

    def send(self, data: bytearray) -> int:
        """Return how many bytes of `data` were taken, 0 for none now; raise OSError when it broke."""

    def close(self) -> None:
        """End the connection."""


class PlainWire:
    """A socket as it is: to the server that started us, or through whatever carries it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._connection.fileno()

    def receive(self) -> Optional[bytes]:
        """Return what came, None if nothing has for now, nothing (b"") at the end; raise OSError when it broke."""
        try:
            return self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return None

    def send(self, data: bytearray) -> int:
        """Return how many bytes of `data` were taken, 0 for none now; raise OSError when it broke."""
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def tuned(connection: socket.socket) -> socket.socket:
    """Set what a connection to the server needs: small messages at once, a dead peer noticed, little queued."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # an old kernel does without
            connection.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MAX)
            connection.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_MAX)
    return connection
