"""Connections of the web server: whoever holds one open asks for something soon, and nobody takes all of them."""

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

ASKED_WITHIN = 15.0
"""Seconds in which the head of a request has to come; between two requests up to twice that, if keeping alive ends later."""

SHARE_MAX = 0.75
"""Of the files that this process may open: the engine needs some of its own."""


class Prompt(H11Protocol):
    """HTTP on one connection, which is closed where nothing is asked for."""

    _timer: asyncio.TimerHandle | None = None
    _seen: tuple[object, bool] = (None, True)

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

    def _look(self) -> None:
        """Close the connection where no request has begun since the look before."""
        seen = (self.cycle, self.cycle is None or self.cycle.response_complete)
        if seen[1] and seen == self._seen:
            self.transport.abort()
            return
        self._seen = seen
        self._timer = self.loop.call_later(ASKED_WITHIN, self._look)
