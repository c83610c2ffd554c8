"""Tokens of the API, and the answers that are kept for requests that may be sent again."""

import json
from dataclasses import dataclass

from reconciler.model.access import AccessToken, Grant
from reconciler.store.database import Row, Transaction

TOKENS_KEPT = 30 * 86_400.0  # seconds after its end; then the audit alone remembers a token
ANSWERS_KEPT = 86_400.0  # seconds
_SELECT = (
    "SELECT name, digest, grants, created_by, created_at, expires_at, last_used_at, revoked_at"
    " FROM access_tokens "  # as AccessToken
)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What was answered to a request, of which `request` is the digest; the answer is sealed."""

    request: str
    answer: bytes


def put_token(tx: Transaction, token: AccessToken) -> None:
    """Write a token, in place of one of the same name, and drop those long past."""
    tx.execute("DELETE FROM access_tokens WHERE expires_at < ? OR name = ?", token.created_at - TOKENS_KEPT, token.name)
    grants = json.dumps([[grant.role, grant.space] for grant in token.grants])
    tx.execute(
        "INSERT INTO access_tokens (name, digest, grants, created_by, created_at, expires_at, last_used_at, revoked_at)"
        " VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
        *(token.name, token.digest, grants, token.created_by, token.created_at, token.expires_at),
    )


def token(tx: Transaction, name: str) -> AccessToken | None:
    """Return a token by its name."""
    row = tx.one(_SELECT + "WHERE name = ?", name)
    return _token(row) if row else None


def token_of(tx: Transaction, digest: str) -> AccessToken | None:
    """Return the token whose text has a digest."""
    row = tx.one(_SELECT + "WHERE digest = ?", digest)
    return _token(row) if row else None


def tokens(tx: Transaction) -> list[AccessToken]:
    """Return the tokens by name."""
    return [_token(row) for row in tx.all(_SELECT + "ORDER BY name")]


def revoke_token(tx: Transaction, name: str, at: float) -> bool:
    """Make a token useless; False, and nothing changes, where it is already."""
    changed = tx.execute("UPDATE access_tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", at, name)
    return changed == 1


def see_use(tx: Transaction, digest: str, at: float) -> None:
    """Record that a token was used."""
    tx.execute("UPDATE access_tokens SET last_used_at = ? WHERE digest = ?", at, digest)


def kept_answer(tx: Transaction, bearer: str, key: str, now: float) -> KeptAnswer | None:
    """Return what was answered to a bearer under a key within the last day."""
    row = tx.one(
        "SELECT request, answer FROM kept_answers WHERE bearer = ? AND idempotency_key = ? AND at > ?",
        *(bearer, key, now - ANSWERS_KEPT),
    )
    return KeptAnswer(row[0], bytes(row[1])) if row else None


def keep_answer(tx: Transaction, bearer: str, key: str, kept: KeptAnswer, at: float) -> None:
    """Keep an answer for a day, and drop those that are older."""
    tx.execute("DELETE FROM kept_answers WHERE at <= ?", at - ANSWERS_KEPT)
    tx.execute(
        "INSERT INTO kept_answers (bearer, idempotency_key, request, answer, at) VALUES (?, ?, ?, ?, ?)",
        *(bearer, key, kept.request, kept.answer, at),
    )


def _token(row: Row) -> AccessToken:
    name, digest, grants, *rest = row
    return AccessToken(name, digest, tuple(Grant(role, space) for role, space in json.loads(grants)), *rest)
