"""Who is at the other end of a TLS connection, told by the public key of its certificate."""

import asyncio
import ssl
from dataclasses import dataclass

from reconciler.protocol.identity import thumbprint

TLS_BUFFER_BYTES = 16 << 10
"""One TLS record: asyncio's own 256 KiB for each connection would be 250 MB for a thousand agents."""

asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # type: ignore[attr-defined]  # private; a test measures it

CLOSING_SECONDS = 2.0
"""How long a refused peer may take to read why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An identity that TLS has proven; `expires_at` in seconds since the epoch, None where nobody certified it to us."""

    thumbprint: str
    expires_at: float | None


def peer_of(writer: asyncio.StreamWriter) -> Peer | None:
    """Return who sent its certificate on an open TLS connection, None for one without; raises CertificateError."""
    tls = writer.get_extra_info("ssl_object")
    assert isinstance(tls, ssl.SSLObject), "peers are met over TLS"
    certificate = tls.getpeercert(binary_form=True)
    if certificate is None:
        return None
    validated = tls.getpeercert() or {}
    until = validated.get("notAfter")
    return Peer(thumbprint(certificate), ssl.cert_time_to_seconds(until) if isinstance(until, str) else None)


async def say_and_close(writer: asyncio.StreamWriter, last_words: bytes) -> None:
    """Send what a peer should still read, then close; one that does not read is cut off."""
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            writer.write(last_words)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, OSError):
        writer.transport.abort()
