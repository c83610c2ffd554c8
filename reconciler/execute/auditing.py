"""The auditor: counts anew what is held, and tells of what does not agree; each such thing is a fault of the program."""

import asyncio
import time

from reconciler.execute.records import ENGINE
from reconciler.model.live import Event
from reconciler.store import audit, claims
from reconciler.store.database import Work
from reconciler.store.writer import Store

EVERY = 60.0
"""Seconds from one count to the next."""


async def audit_claims(store: Store, every: float = EVERY) -> None:
    """Count until cancelled; what was told is told again only after it had agreed in between."""
    told: set[str] = set()
    while True:
        found = await store.read(claims.mismatches)
        new = [sentence for sentence in found if sentence not in told]
        if new:
            await store.write(_telling(new))
        told = set(found)
        await asyncio.sleep(every)


def _telling(sentences: list[str]) -> Work[int]:
    now = time.time()
    events = [Event(now, ENGINE, "audit", "claims", "failed", detail=sentence) for sentence in sentences]
    return lambda tx: audit.record_all(tx, events)
