"""Saved plans that were applied: each once."""

from reconciler.store.database import Transaction


def applied(tx: Transaction, digest: str) -> str | None:
    """Return the revision under which the plan with this digest was applied, or None if it was not."""
    row = tx.one("SELECT revision FROM applied_plans WHERE digest = ?", digest)
    return str(row[0]) if row else None


def mark_applied(tx: Transaction, digest: str, revision: str, at: float) -> bool:
    """Record that a plan is applied; False, and nothing changes, where it was before."""
    changed = tx.execute(
        "INSERT INTO applied_plans (digest, revision, at) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING",
        *(digest, revision, at),
    )
    return changed == 1
