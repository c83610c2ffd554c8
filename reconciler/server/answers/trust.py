"""Whom an installation trusts, as commands and the API show it: its own keys, and what is revoked.

Times are seconds since the epoch.
"""

from dataclasses import dataclass

from reconciler.model.trust import AuthorityKey, Revocation
from reconciler.store import authority, enrolment
from reconciler.store.certificates import thumbprint_of
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key of the installation: what it is for, where it is on its way, and its certificate (PEM)."""

    purpose: str
    state: str
    thumbprint: str
    since: float
    made_at: float
    certificate: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys by purpose and number, and the identities that are trusted no longer."""

    keys: tuple[KeyRow, ...]
    revocations: tuple[Revocation, ...]


def trust(tx: Transaction) -> Trust:
    """Return whom the installation trusts."""
    keys = tuple(map(_row, authority.keys(tx, None)))
    return Trust(keys, tuple(enrolment.revocations(tx).values()))


def _row(key: AuthorityKey) -> KeyRow:
    thumbprint = thumbprint_of(key.certificate)
    return KeyRow(key.purpose.value, key.state.value, thumbprint, key.since, key.made_at, key.certificate)
