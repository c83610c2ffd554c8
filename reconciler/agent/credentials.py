"""The running agent's credentials: which identity it shows, when it asks for a certificate, whom it trusts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Optional

from reconciler.agent import identities, settings
from reconciler.agent.faults import AgentError
from reconciler.agent.identities import CURRENT, NEXT, Identity
from reconciler.protocol.messages import Certified, Config, Renew, Trust

RENEWED_AFTER = 2 / 3  # of a certificate's life; the last third is for servers that are away
ASK_AGAIN = 3600.0  # seconds after which a certificate is asked for once more


@dataclass(frozen=True)
class _Stamp:
    """What tells that the identities on disk are other ones than those in memory."""

    current: tuple[int, int]
    following: tuple[int, int]


class Credentials:
    """Two identities at most, and the server's; what is on disk counts, whoever wrote it."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._asked: dict[str, float] = {}  # per thumbprint, when on the monotonic clock; two at most
        self._quiet_until = 0.0
        self._trust = settings.trust(state)
        self._shows_next = False
        self.has_run_out = False
        """The server says so; nothing but RENEW is of use on the next connection."""
        self._read()

    @property
    def path(self) -> str:
        """Where the identity lies that is shown on the next connection."""
        return identities.path_of(self._state, NEXT if self._shows_next else CURRENT)

    @property
    def shown(self) -> Identity:
        """The identity that is shown on the next connection."""
        return self._following if self._shows_next and self._following is not None else self._current

    @property
    def trust(self) -> Trust:
        """Whom we trust."""
        return self._trust

    def look(self) -> bool:
        """Read again what has changed on disk; say whether another identity is to be shown than before."""
        if self._stamp == self._stamped():
            return False
        before = self.shown
        self._read()
        return self.shown.thumbprint != before.thumbprint or self.shown.certificate != before.certificate

    def question(self, now: float) -> Optional[Renew]:
        """Return what to ask the server for now, on the clock of the wall; each question is repeated by the hour."""
        for identity in (self._current, self._following):
            if identity is None or not self._is_due(identity, now):
                continue
            if time.monotonic() - self._asked.get(identity.thumbprint, -ASK_AGAIN) >= ASK_AGAIN:
                self._asked[identity.thumbprint] = time.monotonic()
                return Renew(identity.request)
        return None

    def take_certificate(self, certified: Certified) -> str:
        """Keep the certificate of one of our keys and return its thumbprint; raise `AgentError` if it is of another."""
        name = NEXT if self._is_of(self._following, certified) else CURRENT
        identity = self._following if name == NEXT and self._following is not None else self._current
        identities.keep(self._state, identity.certified(certified.certificate), name)
        self._asked.pop(identity.thumbprint, None)
        self.has_run_out = False
        self._take_trust(certified.trust)
        self._read()
        return identity.thumbprint

    def take_config(self, config: Config) -> bool:
        """Keep whom to trust; change the key if Git declares the next one. Say whether that was done."""
        self._take_trust(config.trust)
        following = self._following
        if following is None or not following.certificate or following.thumbprint not in config.thumbprints:
            return False
        identities.promote(self._state)
        self._read()
        return True

    def show_the_other(self) -> None:
        """Show the next identity instead of the current one, or the other way round: Git may have left one of them."""
        self._shows_next = not self._shows_next and self._following is not None and bool(self._following.certificate)

    def welcomed(self) -> None:
        """Take that the server has taken a session: what was asked before and got no answer is asked again."""
        if time.monotonic() >= self._quiet_until:
            self._asked.clear()

    def refused(self) -> None:
        """Take that the server refused what was asked; ask no more for a while."""
        self._quiet_until = time.monotonic() + ASK_AGAIN

    def _is_due(self, identity: Identity, now: float) -> bool:
        if not identity.certificate:
            return True
        if not identities.is_issued_by(identity.certificate, self._trust.authorities[0]):
            return True  # another authority certifies now: the former one is to be retired
        begin, end = identity.validity
        return now >= begin + (end - begin) * RENEWED_AFTER

    def _is_of(self, identity: Optional[Identity], certified: Certified) -> bool:
        found = identities.thumbprint_of_certificate(certified.certificate)
        return identity is not None and identity.thumbprint == found

    def _take_trust(self, trust: Trust) -> None:
        """Keep a new trust; one that names nobody would lock us out, and is none."""
        if trust != self._trust and trust.authorities and trust.pins:
            settings.keep_trust(self._state, trust)
            self._trust = trust

    def _read(self) -> None:
        self._stamp = self._stamped()
        current = identities.identity(self._state, CURRENT)
        if current is None or not current.certificate:
            raise AgentError(f"{self._state}: this agent has no certificate; enrol it with a new token")
        self._current = current
        self._following = identities.identity(self._state, NEXT)
        self._trust = settings.trust(self._state)
        if self._following is None or not self._following.certificate:
            self._shows_next = False

    def _stamped(self) -> _Stamp:
        return _Stamp(*(_stamp(identities.path_of(self._state, name)) for name in (CURRENT, NEXT)))


def _stamp(path: str) -> tuple[int, int]:
    """Return what differs between two contents of a file that is only ever replaced."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)
