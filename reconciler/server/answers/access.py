"""The tokens of the API as commands and the API itself show them: none with its secret, or the digest of it.

Times are seconds since the epoch.
"""

from dataclasses import dataclass

from reconciler.model.access import AccessToken, Grant
from reconciler.store import access
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class AccessRow:
    """A token of the API."""

    name: str
    grants: tuple[Grant, ...]
    state: str
    created_by: str
    created_at: float
    expires_at: float
    last_used_at: float | None


def access_rows(tx: Transaction, now: float) -> list[AccessRow]:
    """List the tokens by name."""
    return [_row(token, now) for token in access.tokens(tx)]


def _row(token: AccessToken, now: float) -> AccessRow:
    return AccessRow(
        *(token.name, token.grants, token.state(now), token.created_by),
        *(token.created_at, token.expires_at, token.last_used_at),
    )
