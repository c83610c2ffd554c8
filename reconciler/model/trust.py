"""Whom the installation trusts: its own keys, one-use tokens, the identities it certified and those it revoked.

Times are seconds since the epoch; a thumbprint is that of `protocol.identity`.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Purpose(StrEnum):
    """What one of the installation's own keys is for: to certify, to be known by, to sign snapshots of the state."""

    CA = "ca"
    SERVER = "server"
    SNAPSHOT = "snapshot"


class KeyState(StrEnum):
    """Where a key is on its way: announced, in use, trusted for a while still."""

    NEXT = "next"
    CURRENT = "current"
    FORMER = "former"


@dataclass(frozen=True, slots=True)
class AuthorityKey:
    """A key of the installation with its certificate, both PEM; without the sealer the private key is empty."""

    purpose: Purpose
    number: int
    certificate: str
    private_key: str = field(repr=False)
    state: KeyState
    since: float
    made_at: float


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """A one-use right to become `worker`; `digest` is the SHA-256 of its secret, `refusals` how often it did not help.

    `used_by` is the thumbprint that used it, empty before.
    """

    id: str
    digest: str
    worker: str
    pools: tuple[str, ...]
    replace: bool
    created_by: str
    created_at: float
    expires_at: float
    used_by: str = ""
    used_at: float | None = None
    revoked_at: float | None = None
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that the installation certified for a worker; a polling agent has a subscription, a listening an address."""

    thumbprint: str
    worker: str
    subscription: str
    listen: str
    certified_at: float
    expires_at: float
    enrolled_by: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """An identity that is trusted no longer, whatever Git declares."""

    thumbprint: str
    worker: str
    reason: str
    by: str
    at: float
