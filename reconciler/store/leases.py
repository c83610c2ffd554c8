"""Leases on names: held by a heartbeat, and fenced by a token that rises with every holder.

`now` is in seconds on the caller's clock, which on SQLite is the one clock there is; on PostgreSQL it is ignored in
favour of the database's clock_timestamp(), so nodes whose clocks differ agree.
"""

from dataclasses import dataclass

from reconciler.model.errors import Conflict
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class HeldBy:
    """Somebody else holds the lease, until `expires_at` unless they renew it."""

    holder: str
    expires_at: float


def acquire(tx: Transaction, name: str, holder: str, ttl: float, now: float, *, takeover: bool = False) -> int | HeldBy:
    """Take the lease and return its token, or say who holds it.

    `ttl` is in seconds. With `takeover` the former holder is known to be dead and is not waited for; if it lives
    nevertheless, its token no longer passes `check`.
    """
    present = tx.now(now)
    row = tx.one(
        "INSERT INTO leases (name, holder, token, expires_at) VALUES (?, ?, 1, ?) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, token = leases.token + 1, expires_at = excluded.expires_at"
        " WHERE leases.holder = '' OR leases.expires_at <= ? OR ? = 1 RETURNING token",
        *(name, holder, present + ttl, present, int(takeover)),
    )
    if row is not None:
        return int(row[0])
    held = tx.one("SELECT holder, expires_at FROM leases WHERE name = ?", name)
    assert held is not None
    return HeldBy(*held)


def last_holder(tx: Transaction, name: str) -> str:
    """Return who holds the lease, or held it and never gave it back; "" where it was given back."""
    row = tx.one("SELECT holder FROM leases WHERE name = ?", name)
    return str(row[0]) if row else ""


def renew(tx: Transaction, name: str, token: int, ttl: float, now: float) -> bool:
    """Extend the lease to `ttl` seconds from now; False where another took it or it was released.

    One that ran out and that nobody took is extended: no other holder was there in between.
    """
    changed = tx.execute(
        "UPDATE leases SET expires_at = ? WHERE name = ? AND token = ? AND holder <> ''",
        *(tx.now(now) + ttl, name, token),
    )
    return changed == 1


def release(tx: Transaction, name: str, token: int) -> bool:
    """Give the lease back; False, and nothing changes, where `token` no longer holds it."""
    changed = tx.execute("UPDATE leases SET holder = '' WHERE name = ? AND token = ? AND holder <> ''", name, token)
    return changed == 1


def check(tx: Transaction, name: str, token: int) -> None:
    """Raise Conflict unless `token` holds the lease; called in the transaction that it guards.

    The token decides, not the time: a lease that ran out and that nobody took still guards its holder's writes.
    """
    row = tx.one("SELECT holder, token FROM leases WHERE name = ?", name)
    if row is None or not row[0]:
        raise Conflict(f"the lease {name} is held no longer", "run the command again")
    if row[1] != token:
        raise Conflict(f"the lease {name} was taken over by {row[0]}", "wait until it has finished, then run it again")
