"""Addresses that a server listens on: `HOST:PORT`, `[::1]:PORT`, `:PORT` for every interface."""

import os
import re
import socket

from reconciler.model.errors import UsageMistake

ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


def address_of(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`; an empty host is every interface. Raises UsageMistake."""
    found = ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise UsageMistake(
            f'"{text}" is no address to listen on', "write HOST:PORT, [::1]:PORT, or :PORT for every interface"
        )
    return found["six"] or found["host"] or "", int(found["port"])


def bound(text: str) -> socket.socket:
    """Return a socket that is bound to `HOST:PORT`, for IPv4 and IPv6 where no host is named; raises UsageMistake."""
    host, port = address_of(text)
    try:
        if not host:
            return _prompt(socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _prompt(socket.create_server((address[0], address[1]), family=family))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UsageMistake(
            f"nothing can listen on {text}: {reason}", "stop what does, or choose another address"
        ) from None


def _prompt(listening: socket.socket) -> socket.socket:
    """Have what is written on its connections sent at once, which they take over from it.

    asyncio does so only for sockets that name their protocol. Else a second small write waits for the other end to
    confirm the first, which it delays by 40 ms.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
