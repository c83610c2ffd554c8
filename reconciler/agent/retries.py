"""What could not be done at once and is tried again: one thing for each ticket, and when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Optional

from reconciler.protocol.tickets import TicketId


@dataclass(frozen=True)
class _Later:
    """What is to be tried again, and when on the monotonic clock."""

    due: float
    action: Callable[[], None]


class Retries:
    """As many as there are tickets at most; the last word on a ticket counts."""

    def __init__(self) -> None:
        self._waiting: dict[TicketId, _Later] = {}

    def __contains__(self, ticket: TicketId) -> bool:
        return ticket in self._waiting

    def later(self, ticket: TicketId, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` after so many seconds."""
        self._waiting[ticket] = _Later(time.monotonic() + seconds, action)

    def drop(self, ticket: TicketId) -> None:
        """Try nothing more for `ticket`."""
        self._waiting.pop(ticket, None)

    def patience(self) -> Optional[float]:
        """Return the seconds until something is due, None if nothing waits."""
        due = min((later.due for later in self._waiting.values()), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def try_due(self) -> None:
        """Try what is due."""
        now = time.monotonic()
        for ticket in [ticket for ticket, later in self._waiting.items() if later.due <= now]:
            self._waiting.pop(ticket).action()
