"""Polling agents: the carrier that waits for one to call."""

import asyncio

from reconciler.execute.carriers import Connection


class PollingCarrier:
    """A worker whose agent calls us: `open` waits for the call. The newest call wins; the doorkeeper has judged it."""

    def __init__(self) -> None:
        self.current: Connection | None = None
        self._waiting: Connection | None = None
        self._called = asyncio.Event()

    async def open(self) -> Connection:
        """Wait until the agent calls, ending what is left of the call before."""
        self._hang_up()
        while self._waiting is None:
            self._called.clear()
            await self._called.wait()
        self.current, self._waiting = self._waiting, None
        return self.current

    def take(self, connection: Connection) -> None:
        """Take a call: the session before it ends, whatever its state."""
        if self._waiting is not None:
            self._waiting.writer.transport.abort()
        self._waiting = connection
        self._called.set()
        self._hang_up()

    async def close(self) -> None:
        """End the call; the agent keeps its tickets and calls again."""
        self._hang_up()
        if self._waiting is not None:
            self._waiting.writer.transport.abort()
            self._waiting = None

    def _hang_up(self) -> None:
        if self.current is not None:
            self.current.writer.transport.abort()
            self.current = None
