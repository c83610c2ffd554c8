"""Forgotten tickets: their tombstones share a sync, their directories go when nobody waits for the agent."""

from __future__ import annotations

import time
from collections import deque
from typing import Optional

from reconciler.agent import directory
from reconciler.agent.tombstones import Tombstones
from reconciler.protocol.tickets import TicketId

WAIT_SECONDS = 0.05  # that a ticket waits for others, so that a step does not wait for the sync of the one before
TOGETHER_MAX = 64  # tombstones in one sync
LEFT_MAX = 256  # directories left; further ones go at once, as from an agent that is never idle
WRITE_AGAIN = 1.0  # seconds until a full disk is tried once more


class Forgotten:
    """Tickets on their way out: told to be forgotten, then buried (durably known as forgotten), then removed."""

    def __init__(self, tickets: str, tombstones: Tombstones) -> None:
        self._tickets = tickets
        self._tombstones = tombstones
        self._told: dict[TicketId, None] = {}  # in order; buried before they are more than `TOGETHER_MAX`
        self._due = 0.0
        self._left: deque[TicketId] = deque()

    def add(self, ticket: TicketId) -> None:
        """Take in a ticket that is to be buried soon."""
        if not self._told:
            self._due = time.monotonic() + WAIT_SECONDS
        self._told[ticket] = None

    def patience(self) -> Optional[float]:
        """Return the seconds until there is something to do, None if nothing waits."""
        if self._left:
            return 0.0
        return max(0.0, self._due - time.monotonic()) if self._told else None

    def bury(self, *, at_once: bool = False) -> list[TicketId]:
        """Write the tombstones that are due and return their tickets; on a full disk they stay due."""
        if not self._told or not (at_once or len(self._told) >= TOGETHER_MAX or time.monotonic() >= self._due):
            return []
        buried = list(self._told)
        try:
            self._tombstones.add(buried)
        except OSError:  # what has no tombstone may not be dropped
            self._due = time.monotonic() + WRITE_AGAIN
            return []
        self._told.clear()
        return buried

    def leave(self, ticket: TicketId) -> None:
        """Let the directory of a buried ticket be removed later."""
        self._left.append(ticket)
        if len(self._left) > LEFT_MAX:
            self.remove_one()

    def remove_one(self) -> bool:
        """Remove the directory that was left first; say whether there was one."""
        if self._left:
            directory.remove(self._tickets, self._left.popleft())
            return True
        return False
