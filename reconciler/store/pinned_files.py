"""Script files that tasks pin, kept in the database for nodes that take a task over from one that has them on its disk."""

from reconciler.store.database import Transaction


def keep(tx: Transaction, digest: str, content: bytes) -> None:
    """Keep a file under its SHA-256; harmless where it is kept already."""
    tx.execute(
        "INSERT INTO pinned_files (digest, content) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", digest, content
    )


def content(tx: Transaction, digest: str) -> bytes | None:
    """Return a file; None where it is not kept."""
    row = tx.one("SELECT content FROM pinned_files WHERE digest = ?", digest)
    return bytes(row[0]) if row else None
