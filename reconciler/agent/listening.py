"""A listening agent's door: takes connections in the loop, lets threads shake hands, passes on whom we trust."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Optional

from reconciler.agent import tls
from reconciler.agent.arrivals import Arrivals
from reconciler.agent.dialling import PATIENCE
from reconciler.agent.faults import AgentError, StrangerError
from reconciler.agent.settings import WILDCARDS, Address
from reconciler.agent.wire import tuned
from reconciler.protocol.messages import Trust

HANDSHAKES_MAX = 8  # at once; each is a thread, and one server needs one
BACKLOG = 16


class Door:
    """An open port."""

    def __init__(self, address: Address, arrivals: Arrivals) -> None:
        self._listener = _bound(address)
        self._arrivals = arrivals
        self._handshakes = 0
        self.turned_away = 0
        """How many connections were closed because too many were shaking hands."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody knocks."""
        return self._listener.fileno()

    def answer(self, context: ssl.SSLContext, trust: Trust) -> None:
        """Let whoever knocks shake hands; each becomes an arrival, for which `settle` is to be called."""
        knock = self._knock()
        if knock is None:
            return
        connection, where = knock
        if self._handshakes >= HANDSHAKES_MAX:
            self.turned_away += 1
            connection.close()
            return
        self._handshakes += 1
        self._arrivals.begin(lambda: (_greeted(connection, context, trust, where), where), turn=0)

    def settle(self) -> None:
        """Take that a handshake has ended, this way or that."""
        self._handshakes -= 1

    def close(self) -> None:
        """Let nobody knock any more."""
        self._listener.close()

    def _knock(self) -> Optional[tuple[socket.socket, str]]:
        try:
            connection, peer = self._listener.accept()
        except OSError:  # gone again, or no descriptors left: the next one may have more luck
            return None
        return connection, str(peer[0])


def _greeted(connection: socket.socket, context: ssl.SSLContext, trust: Trust, where: str) -> ssl.SSLSocket:
    connection.settimeout(PATIENCE)
    greeted = tls.shaken(tuned(connection), context, where, we_dialled=False)
    try:
        tls.check_pin(greeted, trust, where)
    except StrangerError:
        greeted.close()
        raise
    return greeted


def _bound(address: Address) -> socket.socket:
    """Return a listening socket; raise `AgentError`."""
    host = None if address.host in WILDCARDS else address.host
    try:
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = next((each for each in found if each[0] == socket.AF_INET6 and not host), found[0])
        is_dual = family == socket.AF_INET6 and address.host in ("", "::")
        listener = socket.create_server(
            place[:2], family=family, backlog=BACKLOG, dualstack_ipv6=is_dual and socket.has_dualstack_ipv6()
        )
    except OSError as error:
        said = error.strerror or os.strerror(error.errno or 0)
        raise AgentError(
            f"cannot listen at {address}: {said}; choose an address of this machine that is free"
        ) from None
    listener.setblocking(False)
    return listener
