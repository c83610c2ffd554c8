"""Open a connection to the server: look its name up, connect, tunnel through the proxy, shake hands, compare its key."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Optional

from reconciler.agent import tls
from reconciler.agent.faults import ConnectError, StrangerError, described
from reconciler.agent.settings import POLLING_PORT, Address, Polling, address, proxy_address, proxy_credentials
from reconciler.agent.wire import tuned
from reconciler.protocol.messages import Trust
from reconciler.protocol.proxy import ProxyError, connect_request, tunnel_is_open

PATIENCE = 15.0  # seconds for each step: connecting, the proxy's answer, the handshake


@dataclass(frozen=True)
class Route:
    """How one server is reached."""

    server: Address
    proxy: Optional[Address] = None
    credentials: Optional[str] = field(default=None, repr=False)
    """`USER:PASSWORD` for the proxy."""

    def __str__(self) -> str:
        return f"{self.server} through the proxy {self.proxy}" if self.proxy is not None else str(self.server)


def routes(state: str, polling: Polling) -> list[Route]:
    """Return how each server of a polling agent is reached; raise `AgentError`."""
    proxy = proxy_address(polling.proxy) if polling.proxy is not None else None
    credentials = proxy_credentials(state) if proxy is not None else None
    return [Route(address(server, POLLING_PORT), proxy, credentials) for server in polling.servers]


def dialled(route: Route, identity_path: Optional[str], trust: Trust) -> ssl.SSLSocket:
    """Return an open connection to a server whose key is trusted; raise `ConnectError`."""
    where = str(route)
    context = tls.dialling_context(identity_path)
    connection = tls.shaken(_stream(route, where), context, where, we_dialled=True)
    try:
        tls.check_pin(connection, trust, where)
    except StrangerError:
        connection.close()
        raise
    return connection


def _stream(route: Route, where: str) -> socket.socket:
    """Return a stream whose other end is the server, as far as one can say without TLS."""
    hop = route.proxy or route.server
    try:
        connection = tuned(socket.create_connection((_as_asked(hop.host), hop.port), PATIENCE))
    except OSError as error:
        raise ConnectError(where, described(error)) from None
    if route.proxy is None:
        return connection
    try:
        _tunnel(connection, route)
    except (ProxyError, UnicodeEncodeError) as error:
        connection.close()
        raise ConnectError(where, str(error)) from None
    except OSError as error:
        connection.close()
        raise ConnectError(where, f"the proxy: {described(error)}") from None
    return connection


def _as_asked(host: str) -> str:
    """Return a host for the resolver: as bytes where they are ASCII, since text brings 500 kB of tables for others."""
    return host.encode("ascii") if host.isascii() else host  # type: ignore[return-value]  # it takes both


def _tunnel(connection: socket.socket, route: Route) -> None:
    """Ask the proxy for a tunnel; its answer is read byte by byte, since what follows is the server's."""
    username, _, password = (route.credentials or "").partition(":")
    connection.sendall(connect_request(str(route.server), username or None, password))
    head = b""
    deadline = time.monotonic() + PATIENCE
    while not tunnel_is_open(head):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        byte = connection.recv(1)
        if not byte:
            raise ProxyError("the proxy closed the connection" + (" amid its answer" if head else " without an answer"))
        head += byte
    connection.settimeout(PATIENCE)
