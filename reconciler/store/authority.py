"""The installation's own keys: private ones sealed, one of each purpose in use, one at most to follow."""

from reconciler.model.trust import AuthorityKey, KeyState, Purpose
from reconciler.store.database import Row, Transaction
from reconciler.store.keys import Sealer


def put_key(tx: Transaction, key: AuthorityKey, sealer: Sealer) -> None:
    """Write a key that is new."""
    tx.execute(
        "INSERT INTO authority_keys (purpose, number, certificate, private_key, state, since, made_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(key.purpose.value, key.number, key.certificate, sealer.seal(key.private_key, *_row_name(key))),
        *(key.state.value, key.since, key.made_at),
    )


def move_key(tx: Transaction, key: AuthorityKey, state: KeyState, at: float) -> None:
    """Let a key take its next step."""
    tx.execute(
        "UPDATE authority_keys SET state = ?, since = ? WHERE purpose = ? AND number = ?",
        *(state.value, at, key.purpose.value, key.number),
    )


def set_certificate(tx: Transaction, key: AuthorityKey, certificate: str) -> None:
    """Replace the certificate of a key."""
    tx.execute(
        "UPDATE authority_keys SET certificate = ? WHERE purpose = ? AND number = ?",
        *(certificate, key.purpose.value, key.number),
    )


def remove_key(tx: Transaction, key: AuthorityKey) -> None:
    """Forget a key for ever."""
    tx.execute("DELETE FROM authority_keys WHERE purpose = ? AND number = ?", key.purpose.value, key.number)


def keys(tx: Transaction, sealer: Sealer | None) -> tuple[AuthorityKey, ...]:
    """Return the keys by purpose and number; without a sealer, private ones stay closed."""
    rows = tx.all(
        "SELECT purpose, number, certificate, private_key, state, since, made_at FROM authority_keys"
        " ORDER BY purpose, number"
    )
    return tuple(_key(row, sealer) for row in rows)


def _key(row: Row, sealer: Sealer | None) -> AuthorityKey:
    purpose, number, certificate, private_key, state, since, made_at = row
    opened = "" if sealer is None else sealer.unseal(private_key, "authority", purpose, number)
    return AuthorityKey(Purpose(purpose), number, certificate, opened, KeyState(state), since, made_at)


def _row_name(key: AuthorityKey) -> tuple[str, str, int]:
    return ("authority", key.purpose.value, key.number)
