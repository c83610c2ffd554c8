"""How agents become known: one-use tokens, the identities that were certified, and those that were revoked."""

import json

from reconciler.model.trust import EnrolmentToken, Identity, Revocation
from reconciler.store.database import Row, Transaction

TOKENS_SHOWN_MAX = 1_000  # the newest; older ones are found in the audit
TOKENS_KEPT = 30 * 86_400.0  # seconds after its end; then the audit alone remembers a token

_SELECT_TOKENS = (
    "SELECT id, secret_digest, worker, pools, replaces, created_by, created_at, expires_at, used_by, used_at,"
    " revoked_at, refusals FROM enrolment_tokens "  # as EnrolmentToken
)
_SELECT_IDENTITIES = (
    "SELECT thumbprint, worker, subscription, listen, certified_at, expires_at, enrolled_by FROM identities "
)


def put_token(tx: Transaction, token: EnrolmentToken) -> bool:
    """Write a token that is new, and drop those long past; False, and nothing changes, where its id is taken."""
    tx.execute("DELETE FROM enrolment_tokens WHERE expires_at < ?", token.created_at - TOKENS_KEPT)
    changed = tx.execute(
        "INSERT INTO enrolment_tokens (id, secret_digest, worker, pools, replaces, created_by, created_at, expires_at,"
        " used_by, used_at, revoked_at, refusals) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', NULL, NULL, 0)"
        " ON CONFLICT (id) DO NOTHING",
        *(token.id, token.digest, token.worker, json.dumps(token.pools), int(token.replace)),
        *(token.created_by, token.created_at, token.expires_at),
    )
    return changed == 1


def token(tx: Transaction, token_id: str) -> EnrolmentToken | None:
    """Return a token by its id."""
    row = tx.one(_SELECT_TOKENS + "WHERE id = ?", token_id)
    return _token(row) if row else None


def tokens(tx: Transaction) -> list[EnrolmentToken]:
    """Return the tokens, the newest first."""
    return [_token(row) for row in tx.all(_SELECT_TOKENS + "ORDER BY created_at DESC, id LIMIT ?", TOKENS_SHOWN_MAX)]


def use_token(tx: Transaction, token_id: str, thumbprint: str, at: float) -> bool:
    """Record who used a token; False, and nothing changes, where somebody has."""
    changed = tx.execute(
        "UPDATE enrolment_tokens SET used_by = ?, used_at = ? WHERE id = ? AND used_by = ''", thumbprint, at, token_id
    )
    return changed == 1


def revoke_token(tx: Transaction, token_id: str, at: float) -> bool:
    """Make a token useless; False, and nothing changes, where it is already."""
    changed = tx.execute("UPDATE enrolment_tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", at, token_id)
    return changed == 1


def count_refusal(tx: Transaction, token_id: str) -> int:
    """Count that a token did not help its bearer, and return how often that was so."""
    row = tx.one("UPDATE enrolment_tokens SET refusals = refusals + 1 WHERE id = ? RETURNING refusals", token_id)
    assert row is not None
    return int(row[0])


def put_identity(tx: Transaction, identity: Identity) -> None:
    """Write an identity that was certified, over what was known of the same key."""
    tx.execute(
        "INSERT INTO identities (thumbprint, worker, subscription, listen, certified_at, expires_at, enrolled_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (thumbprint) DO UPDATE SET worker = excluded.worker,"
        " subscription = excluded.subscription, listen = excluded.listen, certified_at = excluded.certified_at,"
        " expires_at = excluded.expires_at, enrolled_by = excluded.enrolled_by",
        *(identity.thumbprint, identity.worker, identity.subscription, identity.listen),
        *(identity.certified_at, identity.expires_at, identity.enrolled_by),
    )


def identity(tx: Transaction, thumbprint: str) -> Identity | None:
    """Return the identity of a key that was certified."""
    row = tx.one(_SELECT_IDENTITIES + "WHERE thumbprint = ?", thumbprint)
    return Identity(*row) if row else None


def identities(tx: Transaction, worker: str | None = None) -> list[Identity]:
    """Return the identities of one worker or of all, by worker, the oldest first."""
    if worker is None:
        rows = tx.all(_SELECT_IDENTITIES + "ORDER BY worker, certified_at, thumbprint")
    else:
        rows = tx.all(_SELECT_IDENTITIES + "WHERE worker = ? ORDER BY certified_at, thumbprint", worker)
    return [Identity(*row) for row in rows]


def specs_naming(tx: Transaction, thumbprint: str) -> dict[str, str]:
    """Return the specs (JSON) of live workers that hold a thumbprint, by name; no thumbprint holds a wildcard."""
    rows = tx.all("SELECT name, spec FROM objects WHERE kind = 'Worker' AND spec LIKE ?", f'%"{thumbprint}"%')
    return {str(name): str(spec) for name, spec in rows}


def revoke(tx: Transaction, revocation: Revocation) -> bool:
    """Trust an identity no longer; False, and nothing changes, where it is revoked already."""
    changed = tx.execute(
        "INSERT INTO revocations (thumbprint, worker, reason, by_whom, at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (thumbprint) DO NOTHING",
        *(revocation.thumbprint, revocation.worker, revocation.reason, revocation.by, revocation.at),
    )
    return changed == 1


def lift(tx: Transaction, thumbprint: str) -> bool:
    """Trust an identity again; False, and nothing changes, where it is not revoked."""
    return tx.execute("DELETE FROM revocations WHERE thumbprint = ?", thumbprint) == 1


def revocations(tx: Transaction) -> dict[str, Revocation]:
    """Return the revocations by thumbprint, in the order of time."""
    rows = tx.all("SELECT thumbprint, worker, reason, by_whom, at FROM revocations ORDER BY at, thumbprint")
    return {row[0]: Revocation(*row) for row in rows}


def _token(row: Row) -> EnrolmentToken:
    token_id, digest, worker, pools, replace, *rest = row
    return EnrolmentToken(token_id, digest, worker, tuple(json.loads(pools)), bool(replace), *rest)
