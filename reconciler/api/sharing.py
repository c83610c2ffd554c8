"""What the followers of one state share: each look at it, and output once it was read and encoded."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from reconciler.api.visits import Visit
from reconciler.model.live import TaskId
from reconciler.protocol.tickets import TicketId
from reconciler.server.answers.log_walk import Facts, Piece, Reading, facts_of, reading
from reconciler.store import audit
from reconciler.store.writer import Store

LOOK_SECONDS = 0.25
"""Between two looks at a state that somebody follows."""

TASKS_MAX = 1_000
"""Tasks whose last look is remembered."""

SHARED_BYTES = 32 << 20
"""Of journals and of what they were encoded to."""

Seen = TypeVar("Seen")


def as_json(value: object) -> bytes:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@dataclass(slots=True)
class Look(Generic[Seen]):
    """Something that is read anew where the last look is over, once for all who ask at the same time."""

    seen: Seen | None = None
    at: float = -LOOK_SECONDS
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self, read: Callable[[], Awaitable[Seen]]) -> Seen:
        """Return what was seen in this look."""
        async with self.turn:
            if self.seen is None or time.monotonic() - self.at >= LOOK_SECONDS:
                self.seen = await read()
                self.at = time.monotonic()
            return self.seen


@dataclass(frozen=True, slots=True)
class _Kept:
    end: int
    pieces: Sequence[Piece]
    encoded: bytes


@dataclass(slots=True)
class Pieces:
    """Output as it was read and encoded for the first follower, kept for the others."""

    read: Reading
    _kept: OrderedDict[tuple[str, int], _Kept] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, ticket: TicketId, offset: int) -> tuple[int, Sequence[Piece]]:
        """Read as `read` does."""
        kept = self._kept.get((ticket, offset))
        if kept is not None:
            return kept.end, kept.pieces
        end, pieces = self.read(ticket, offset)
        if pieces:
            encoded = as_json([asdict(piece) for piece in pieces])
            self._kept[ticket, offset] = _Kept(end, pieces, encoded)
            self._bytes += end - offset + len(encoded)
            self._drop()
        return end, pieces

    def encoded(self, ticket: str, offset: int) -> bytes | None:
        """Return what begins at an offset as JSON; None where it is not kept."""
        kept = self._kept.get((ticket, offset))
        return kept.encoded if kept is not None else None

    def _drop(self) -> None:
        while self._bytes > SHARED_BYTES and len(self._kept) > 1:
            (_, start), kept = self._kept.popitem(last=False)
            self._bytes -= kept.end - start + len(kept.encoded)


class Follows:
    """What the followers of one state share."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self._tasks: OrderedDict[TaskId, Look[Facts]] = OrderedDict()
        self._last_event: Look[int] = Look()

    async def facts(self, visit: Visit, task: TaskId) -> Facts:
        """Read a task; raises UsageMistake where there is none."""
        look = self._tasks.setdefault(task, Look())
        self._tasks.move_to_end(task)
        if len(self._tasks) > TASKS_MAX:
            self._tasks.popitem(last=False)
        return await look.fresh(lambda: visit.read(lambda tx: facts_of(tx, task)))

    async def last_event(self, visit: Visit) -> int:
        """Read the number of the last event."""
        return await self._last_event.fresh(lambda: visit.read(lambda tx: audit.end(tx).event))


_FOLLOWS: WeakKeyDictionary[Store, Follows] = WeakKeyDictionary()


def follows_of(visit: Visit) -> Follows:
    """Return what the followers of the state of a visit share."""
    store = visit.controller.engine.store
    found = _FOLLOWS.get(store)
    if found is None:
        found = _FOLLOWS[store] = Follows(Pieces(reading(visit.controller.running.logs)))
    return found
