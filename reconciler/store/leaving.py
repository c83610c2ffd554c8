"""Workers that Git no longer declares while attempts live on them: how to reach them until the last one has ended."""

from reconciler.store.database import Transaction


def keep(tx: Transaction, worker: str, spec: str) -> bool:
    """Remember a worker that is being removed, if an attempt lives on it; `spec` is canonical JSON."""
    busy = tx.one("SELECT 1 FROM attempts WHERE worker = ? AND finished_at IS NULL LIMIT 1", worker) is not None
    if busy:
        tx.execute(
            "INSERT INTO leaving_workers (name, spec) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET spec = excluded.spec",
            worker,
            spec,
        )
    return busy


def leaving(tx: Transaction) -> dict[str, str]:
    """Return the specs of those that leave and still have an attempt, by name."""
    rows = tx.all(
        "SELECT name, spec FROM leaving_workers WHERE EXISTS"
        " (SELECT 1 FROM attempts WHERE attempts.worker = leaving_workers.name AND finished_at IS NULL) ORDER BY name"
    )
    return {str(name): str(spec) for name, spec in rows}


def forget_gone(tx: Transaction) -> int:
    """Drop those on which nothing lives any more, and return how many."""
    return tx.execute(
        "DELETE FROM leaving_workers WHERE NOT EXISTS"
        " (SELECT 1 FROM attempts WHERE attempts.worker = leaving_workers.name AND finished_at IS NULL)"
    )
