"""Idle shims: processes that wait, warm, for a ticket; those that have served one cleanly wait for the next."""

from __future__ import annotations

import selectors
from contextlib import suppress

from reconciler.agent.errands import Channel
from reconciler.agent.nursery import Nursery, NurseryError

READY = 2  # forked before the first ticket comes
IDLE_MIN = 1  # the next ticket of a burst need not wait for a fork
IDLE_MAX = 4  # 3 MiB each; more than a machine's processors gain nothing


class IdleShims:
    """Hands out connections to shims that wait for `Start`, and takes them back."""

    def __init__(self, nursery: Nursery, selector: selectors.BaseSelector) -> None:
        self._nursery = nursery
        self._selector = selector
        self._idle: list[Channel] = []
        self.fill(READY)

    def take(self) -> Channel:
        """Return the connection to the shim that served last, or to a new one; raise `NurseryError`."""
        if not self._idle:
            return Channel(self._nursery.fork_shim())
        channel = self._idle.pop()
        self._selector.unregister(channel)
        return channel

    def put(self, channel: Channel) -> None:
        """Take back a shim that waits for the next ticket; one too many is let go."""
        if len(self._idle) >= IDLE_MAX:
            channel.close()
            return
        self._idle.append(channel)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(channel))

    def fill(self, wanted: int = IDLE_MIN) -> None:
        """See to it that some shims wait."""
        with suppress(NurseryError):  # whoever needs one will say so
            while len(self._idle) < wanted:
                self.put(Channel(self._nursery.fork_shim()))

    def _hear(self, channel: Channel) -> None:
        """Notice that an idle shim is gone; it has nothing to say."""
        if channel.receive() is None and channel in self._idle:
            self._idle.remove(channel)
            self._selector.unregister(channel)
            channel.close()
