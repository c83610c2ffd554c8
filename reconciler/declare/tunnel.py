"""What ssh runs to reach a host through an HTTP proxy: a tunnel between its own input and output and the host.

`python -m reconciler.declare.tunnel` reads from its environment which proxy, and which host behind it.
"""

import os
import socket
import sys
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from reconciler.protocol.proxy import HEAD_END, ProxyError, connect_request, tunnel_is_open

PROXY = "RECONCILER_TUNNEL_PROXY"  # http://HOST:PORT
TARGET = "RECONCILER_TUNNEL_TARGET"  # HOST:PORT
SAYS = "tunnel: "
"""What a line on standard error begins with that says why there is none."""

PATIENCE = 30.0  # seconds for the proxy to connect
PIECE_BYTES = 1 << 16


def main() -> int:
    """Open the tunnel and carry bytes until either end closes; say why where there is none."""
    proxy, target = os.environ[PROXY], os.environ[TARGET]
    try:
        tunnel, first = opened(proxy, target)
    except (OSError, ProxyError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        sys.stderr.write(f"{SAYS}{proxy} does not lead to {target}: {said}\n")
        return 1
    threading.Thread(target=_send, args=(tunnel,), daemon=True).start()
    with suppress(OSError):  # whoever reads is gone
        while first:
            _write(first)
            first = tunnel.recv(PIECE_BYTES)
    return 0


def opened(proxy: str, target: str) -> tuple[socket.socket, bytes]:
    """Return a tunnel to `target`, and what came through it already; raises OSError and ProxyError."""
    address = urlsplit(proxy)
    tunnel = socket.create_connection((address.hostname or "", address.port or 80), timeout=PATIENCE)
    tunnel.sendall(connect_request(target))
    head = b""
    while not tunnel_is_open(head):
        piece = tunnel.recv(PIECE_BYTES)
        if not piece:
            raise ProxyError("the proxy hung up")
        head += piece
    tunnel.settimeout(None)
    return tunnel, head.partition(HEAD_END)[2] or tunnel.recv(PIECE_BYTES)


def _send(tunnel: socket.socket) -> None:
    with suppress(OSError):
        while piece := os.read(sys.stdin.fileno(), PIECE_BYTES):
            tunnel.sendall(piece)
        tunnel.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


if __name__ == "__main__":
    sys.exit(main())
