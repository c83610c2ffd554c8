"""Connections of the web server: whoever holds one open asks for something soon, reads the answer, and takes not all of them."""

import asyncio
import resource
import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ASKED_WITHIN = 15.0
"""Seconds in which the head of a request has to come; between two requests up to twice that, if keeping alive ends later."""

HEAD_BYTES_MAX = 1 << 16
"""Of a head, and of what stands between or behind the bytes of a body; what one read brings may go beyond it."""

SHARE_MAX = 0.75
"""Of the files that this process may open: the engine needs some of its own."""


TCP_INFO_BYTES, BYTES_ACKED = 128, 120
"""How much of Linux's `struct tcp_info` is asked for, and where `tcpi_bytes_acked` stands in it."""


class Prompt(HttpToolsProtocol):
    """HTTP on one connection, which is closed where nothing is asked for, or where a head has no end."""

    _timer: asyncio.TimerHandle | None = None
    _seen: tuple[object, bool] = (None, True)
    _taken = -1
    """Bytes that the other end had acknowledged at the last look, where more were ready; -1 where none were."""
    _idle_bytes = 0
    """That came since the last ones which made a head whole or belong to a body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the kind that uvicorn is given
        """Take a connection, if there are not too many."""
        super().connection_made(transport)
        if len(self.connections) > SHARE_MAX * resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            transport.abort()
            return
        self._timer = self.loop.call_later(ASKED_WITHIN, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless too many came that are no body."""
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._idle_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._idle_bytes = 0
        super().on_body(body)

    def _look(self) -> None:
        """Close the connection where no request has begun since the look before, or nothing of an answer was taken."""
        before, self._taken = self._taken, self._acknowledged() if self.flow.write_paused else -1
        if before == self._taken != -1:
            self.transport.abort()
            return
        seen = (self.cycle, self.cycle is None or self.cycle.response_complete)
        if seen[1] and seen == self._seen:
            self.transport.abort()
            return
        self._seen = seen
        self._timer = self.loop.call_later(ASKED_WITHIN, self._look)

    def _acknowledged(self) -> int:
        """Return how many bytes the other end has acknowledged: it does so as long as whoever reads there goes on."""
        known = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        (count,) = struct.unpack_from("=Q", known, BYTES_ACKED)
        return int(count)
