"""Which files the database names: the logs of attempts, and the blobs that something still needs.

A blob is needed where its digest stands in what a task pins, in what an unfinished attempt was offered, or among the
artifacts. Any text of that form counts, so that none is missed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.store.database import Row, Transaction

PAGE = 500  # rows read at once: a pin has 10 to 100 KiB

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class NamedLog:
    """A log by its ticket; `length` in bytes and `digest` where it grows no more, else None and ""."""

    ticket: str
    length: int | None
    digest: str


def logs(tx: Transaction) -> Iterator[NamedLog]:
    """Yield every log that is kept, by ticket; not those that were removed or are empty."""
    after = ""
    while rows := tx.all(
        "SELECT ticket, finished_at IS NOT NULL, log_length, log_digest FROM attempts"
        " WHERE ticket > ? AND (finished_at IS NULL OR log_length > 0) ORDER BY ticket LIMIT ?",
        *(after, PAGE),
    ):
        yield from map(_log, rows)
        after = rows[-1][0]


def artifacts(tx: Transaction) -> set[str]:
    """Return the digests of the artifacts."""
    return {str(digest) for (digest,) in tx.all("SELECT DISTINCT digest FROM artifacts")}


def blobs(tx: Transaction) -> set[str]:
    """Return the digests of every blob that is needed."""
    found = artifacts(tx)
    for (spec,) in tx.all("SELECT spec FROM attempts WHERE finished_at IS NULL"):
        found.update(_DIGEST.findall(spec))
    after = ""
    while rows := tx.all("SELECT digest, content FROM pins WHERE digest > ? ORDER BY digest LIMIT ?", after, PAGE):
        for _, content in rows:
            found.update(_DIGEST.findall(content))
        after = rows[-1][0]
    return found


def _log(row: Row) -> NamedLog:
    ticket, has_ended, length, digest = row
    return NamedLog(ticket, int(length), digest) if has_ended else NamedLog(ticket, None, "")
