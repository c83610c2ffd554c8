"""Dialling a listening agent: name, network, proxy, TLS, and the pin, before the first byte of work."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from reconciler.execute.carriers import STREAM_BYTES_MAX, CarrierError, Connection
from reconciler.execute.lookups import addresses_of
from reconciler.execute.peers import peer_of
from reconciler.model.errors import ReconcilerError
from reconciler.protocol.identity import CertificateError
from reconciler.protocol.proxy import HEAD_BYTES_MAX, ProxyError, connect_request, tunnel_is_open

DIAL_SECONDS = 15.0
"""For each of: the name, the connection, the proxy's answer, the handshake."""

SNI = "agent"
"""Agents have no names in TLS: the pin says who they are."""


@dataclass(frozen=True, slots=True)
class ProxyRoute:
    """An HTTP proxy on the way; `password` is fetched when it is needed."""

    host: str
    port: int
    username: str | None = None
    password: Callable[[], Awaitable[str]] | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an agent that listens, and the thumbprints it may show."""

    host: str
    port: int
    thumbprints: Collection[str]
    proxy: ProxyRoute | None = None

    def __str__(self) -> str:
        return target(self.host, self.port)


class ListeningCarrier:
    """A worker whose agent listens: we dial. `forbids` says why an address may not be dialled, or None if it may."""

    def __init__(
        self, route: Route, context: Callable[[], ssl.SSLContext], forbids: Callable[[str], str | None]
    ) -> None:
        self._route = route
        self._context = context
        self._forbids = forbids
        self._writer: asyncio.StreamWriter | None = None

    def expect(self, thumbprints: Collection[str]) -> None:
        """Take other thumbprints for right from the next connection on."""
        self._route = replace(self._route, thumbprints=thumbprints)

    async def open(self) -> Connection:
        """Dial, shake hands and check who answered; raise `CarrierError`."""
        await self.close()
        route = self._route
        try:
            return await self._opened(route)
        except TimeoutError:
            raise CarrierError(str(route), f"no answer within {DIAL_SECONDS:g} s") from None
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            raise CarrierError(
                str(route), f"the TLS handshake failed ({reason}); is an agent listening there?"
            ) from None
        except (CertificateError, ProxyError) as error:
            raise CarrierError(str(route), str(error)) from None
        except ReconcilerError as error:
            raise CarrierError(str(route), error.message) from None
        except OSError as error:
            raise CarrierError(str(route), f"it cannot be reached: {error.strerror or error}") from None

    async def close(self) -> None:
        """Close the stream; the agent keeps its tickets."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _opened(self, route: Route) -> Connection:
        connected = await self._tunnel(route, route.proxy) if route.proxy else await self._dial(route.host, route.port)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                reader, writer = await asyncio.open_connection(
                    sock=connected, ssl=self._context(), server_hostname=SNI, limit=STREAM_BYTES_MAX
                )
        except BaseException:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)  # it is asyncio's to close, which this makes it do
            raise
        self._writer = writer
        found = peer_of(writer)
        if found is None or found.thumbprint not in route.thumbprints:
            await self.close()
            shown = found.thumbprint if found is not None else "none"
            expected = " or ".join(sorted(route.thumbprints)) or "none: every thumbprint that Git declares is revoked"
            raise CarrierError(
                str(route), f"another identity answers: it shows the thumbprint {shown}, Git declares {expected}"
            )
        return Connection(reader, writer, thumbprint=found.thumbprint, address=str(route))

    async def _dial(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that may be dialled and answers."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DIAL_SECONDS):
            found = await addresses_of(host, port)
        failure: OSError | CarrierError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in found:
            if refusal := self._forbids(str(address[0])):
                failure = CarrierError(target(host, port), refusal)
                continue
            connection = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            try:
                async with asyncio.timeout(DIAL_SECONDS):
                    await loop.sock_connect(connection, address)
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
            else:
                keep_alive(connection)
                return connection
        raise failure

    async def _tunnel(self, route: Route, proxy: ProxyRoute) -> socket.socket:
        """Have a proxy connect us; names are its to resolve, an address is judged here."""
        if _is_address(route.host) and (refusal := self._forbids(route.host)):
            raise CarrierError(str(route), refusal)
        password = await proxy.password() if proxy.password is not None else ""
        connection = await self._dial(proxy.host, proxy.port)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await loop.sock_sendall(connection, connect_request(str(route), proxy.username, password))
                head = b""
                while not tunnel_is_open(head):  # nothing follows its end: an agent waits for our first word
                    data = await loop.sock_recv(connection, HEAD_BYTES_MAX)
                    if not data:
                        raise ProxyError("the proxy closed the connection without an answer")
                    head += data
        except BaseException:
            connection.close()
            raise
        return connection


def keep_alive(connection: socket.socket) -> None:
    """Send small frames at once, and let the kernel give up on a peer that acknowledges nothing."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DIAL_SECONDS * 1000))


def target(host: str, port: int) -> str:
    """Write an address as people and proxies do: `host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
