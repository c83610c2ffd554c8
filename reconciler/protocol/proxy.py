"""HTTP CONNECT (RFC 9110, section 9.3.6): what is said to a proxy, and what it answers; no I/O."""

from __future__ import annotations

import base64
from typing import Optional

HEAD_BYTES_MAX = 16 << 10  # of a proxy's answer; a real one has a few hundred
HEAD_END = b"\r\n\r\n"
CONNECTED = 200
WANTS_CREDENTIALS = 407


class ProxyError(Exception):
    """A proxy does not connect us; the sentence says what it answered."""


def connect_request(target: str, username: Optional[str] = None, password: str = "") -> bytes:
    """Return the request for a tunnel to `target` (`host:port`, IPv6 in brackets), with basic credentials if given."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if username is not None:
        credentials = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def tunnel_is_open(head: bytes) -> bool:
    """Say whether the proxy's answer is whole; raise `ProxyError` unless it says that the tunnel stands.

    The answer is to be read byte by byte or up to `HEAD_END`: what follows it belongs to the tunnel.
    """
    if HEAD_END not in head:
        if len(head) > HEAD_BYTES_MAX:
            raise ProxyError(f"the proxy's answer has more than {HEAD_BYTES_MAX >> 10} KiB")
        return False
    status = head.split(b"\r\n", 1)[0].decode("ascii", "replace")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ProxyError(f"the proxy does not speak HTTP: {status[:100]!r}")
    if int(words[1]) == WANTS_CREDENTIALS:
        raise ProxyError("the proxy wants other credentials (407)")
    if int(words[1]) != CONNECTED:
        raise ProxyError(f"the proxy refused the tunnel: {' '.join(words[1:])[:100]}")
    return True
