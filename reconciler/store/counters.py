"""Numbers that rise one by one, without gaps, in the order in which transactions commit."""

from reconciler.store.database import Transaction


def next_number(tx: Transaction, name: str, count: int = 1) -> int:
    """Raise the counter `name` by `count` and return it, the last of as many new numbers; the first ever is 1."""
    row = tx.one(
        "INSERT INTO counters (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value",
        name,
        count,
    )
    assert row is not None
    return int(row[0])


def last_number(tx: Transaction, name: str) -> int:
    """Return the counter `name` as it stands; 0 before the first."""
    row = tx.one("SELECT value FROM counters WHERE name = ?", name)
    return int(row[0]) if row else 0
