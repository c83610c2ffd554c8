"""Numbers that rise one by one, without gaps, in the order in which transactions commit."""

from reconciler.store.database import Transaction


def next_number(tx: Transaction, name: str) -> int:
    """Raise the counter `name` and return it; the first is 1."""
    row = tx.one(
        "INSERT INTO counters (name, value) VALUES (?, 1)"
        " ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
        name,
    )
    assert row is not None
    return int(row[0])


def last_number(tx: Transaction, name: str) -> int:
    """Return the counter `name` as it stands; 0 before the first."""
    row = tx.one("SELECT value FROM counters WHERE name = ?", name)
    return int(row[0]) if row else 0
