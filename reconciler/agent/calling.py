"""Ways to the server: a polling agent calls it, a listening one is called; both bring connections, one at a time."""

from __future__ import annotations

import ssl
import time
from typing import Optional, Protocol

from reconciler.agent.arrivals import Arrival, Arrivals, Failed
from reconciler.agent.backoff import Backoff, chance
from reconciler.agent.credentials import Credentials
from reconciler.agent.dialling import dialled, routes
from reconciler.agent.listening import Door
from reconciler.agent.loop import Loop
from reconciler.agent.settings import LISTENING_PORT, Endpoint, Listening, Polling, address
from reconciler.agent.tls import listening_context


class Way(Protocol):
    """How connections come about."""

    def look(self) -> None:
        """Do what time asks for."""

    def patience(self) -> Optional[float]:
        """Return the seconds until `look` has something to do, None if nothing waits."""

    def settle(self, arrival: Arrival) -> bool:
        """Take what a try has come to; say whether its connection is wanted."""

    def stands(self) -> None:
        """Take that the server has taken a session."""

    def ended(self, *, retry_after: float = 0.0, busy: bool = False) -> None:
        """Take that the connection is over; the next one comes after `retry_after` seconds or later."""

    def renew(self) -> None:
        """Take that the identity or the trust is another one now."""

    def close(self) -> None:
        """Bring no more connections."""


class Calling:
    """A polling agent's way: each server in turn, from one by chance on, and patience between the rounds."""

    def __init__(self, state: str, polling: Polling, arrivals: Arrivals, credentials: Credentials) -> None:
        self._routes = routes(state, polling)
        self._arrivals = arrivals
        self._credentials = credentials
        self._backoff = Backoff()
        self._at = int(chance() * len(self._routes))  # spread over the servers
        self._due: Optional[float] = time.monotonic()
        self._turn = 0

    def look(self) -> None:
        """Call when it is time."""
        if self._due is None or time.monotonic() < self._due:
            return
        self._due = None
        self._turn += 1
        route, path, trust = self._routes[self._at], self._credentials.path, self._credentials.trust
        self._arrivals.begin(lambda: (dialled(route, path, trust), str(route)), self._turn)

    def patience(self) -> Optional[float]:
        """Return the seconds until the next call."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def settle(self, arrival: Arrival) -> bool:
        """Take what a call has come to; one that was given up meanwhile is not wanted."""
        if arrival.turn != self._turn:
            return False
        if isinstance(arrival, Failed):
            self.ended()
        return True

    def stands(self) -> None:
        """Take that the server has taken a session."""
        self._backoff.reset()

    def ended(self, *, retry_after: float = 0.0, busy: bool = False) -> None:
        """Call the next server, after some patience when all have had their turn."""
        self._at = (self._at + 1) % len(self._routes)
        self._due = time.monotonic() + self._backoff.delay(retry_after=retry_after, busy=busy)

    def renew(self) -> None:
        """Read nothing: each call takes the credentials as they are."""

    def close(self) -> None:
        """Call no more."""
        self._due = None


class BeingCalled:
    """A listening agent's way: an open port; a newer connection takes the place of the one before."""

    def __init__(self, listening: Listening, arrivals: Arrivals, credentials: Credentials, loop: Loop) -> None:
        self._credentials = credentials
        self._loop = loop
        self._context = self._new_context()
        self._door = Door(address(listening.listen, LISTENING_PORT), arrivals)
        loop.watch(self._door, self._answer)

    def look(self) -> None:
        """Wait: the server calls."""

    def patience(self) -> Optional[float]:
        """Return None: the server calls."""
        return None

    def settle(self, arrival: Arrival) -> bool:
        """Take what a handshake has come to."""
        self._door.settle()
        return True

    def stands(self) -> None:
        """Take that the server has taken a session."""

    def ended(self, *, retry_after: float = 0.0, busy: bool = False) -> None:
        """Wait: the server calls again."""

    def renew(self) -> None:
        """Show the identity and trust the authorities as they are now."""
        self._context = self._new_context()

    def close(self) -> None:
        """Close the port."""
        self._loop.ignore(self._door)
        self._door.close()

    def _answer(self) -> None:
        self._door.answer(self._context, self._credentials.trust)

    def _new_context(self) -> ssl.SSLContext:
        return listening_context(self._credentials.path, self._credentials.trust)


def way(state: str, endpoint: Endpoint, arrivals: Arrivals, credentials: Credentials, loop: Loop) -> Way:
    """Return the way that the settings ask for; raise `AgentError`."""
    if isinstance(endpoint, Polling):
        return Calling(state, endpoint, arrivals, credentials)
    return BeingCalled(endpoint, arrivals, credentials, loop)
