"""Answers that go on: server-sent events with ids to go on from, comments while nothing happens, and an end; exports."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from fastapi.responses import StreamingResponse
from starlette.types import Send

from reconciler.api.sharing import LOOK_SECONDS, Follows, as_json, follows_of
from reconciler.api.visits import Visit
from reconciler.model.live import TaskId
from reconciler.server.answers.log_walk import Cursor, Entry, Facts, Printed, Walk
from reconciler.store import audit
from reconciler.store.exports import export

QUIET_SECONDS = 15.0
"""Between two comments, so that nobody between takes the stream for dead; and the token is looked at again then."""

CHUNK_BYTES = 1 << 18
"""Sent at once; who reads slowly is written to when they have read."""

EVENTS_MAX = 200
"""Of the audit, read at once."""

END = b"event: end\ndata: {}\n\n"
HEARTBEAT = b": still here\n\n"


class EventStream(StreamingResponse):
    """A stream of server-sent events."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], status_code: int = 200) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", "x-accel-buffering": "no"})


class BrokenOff(Exception):
    """An answer that has an end does not come to it."""


class Whole(StreamingResponse):
    """An answer that comes in pieces; one that is broken off ends with its connection, so that nobody takes it for whole."""

    def __init__(self, content: AsyncIterator[bytes], status_code: int = 200) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", "x-content-type-options": "nosniff"})

    async def stream_response(self, send: Send) -> None:
        """Send the content; what is broken off is never said to have ended."""
        with suppress(BrokenOff):
            await super().stream_response(send)


class Lines(Whole):
    """JSON, one object a line."""

    media_type = "application/x-ndjson"


async def log_stream(visit: Visit, task: TaskId, step: str | None, cursor: Cursor) -> AsyncIterator[bytes]:
    """Yield what a task's log holds behind a cursor, as it comes, until the task has ended."""
    shared, logs = follows_of(visit), visit.controller.running.logs
    walk, patience = Walk(shared.pieces.get, step, cursor), Patience(visit)
    while not visit.gate.closing:
        facts = await shared.facts(visit, task)
        for chunk in _chunks(walk, facts, shared):
            yield chunk
            if patience.is_over and not await patience.lasts():
                return
        if facts.task.state.ended:
            yield END
            return
        await logs.growth(LOOK_SECONDS)
        if patience.is_over:
            if not await patience.lasts():
                return
            yield HEARTBEAT


async def event_stream(visit: Visit, after: int) -> AsyncIterator[bytes]:
    """Yield the events of the audit behind one, as they are recorded."""
    shared, patience = follows_of(visit), Patience(visit)
    while not visit.gate.closing:
        while after < await shared.last_event(visit):
            found = await visit.read(partial(audit.events, after=after, limit=EVENTS_MAX))
            if not found:
                break
            after = found[-1].id
            yield b"".join(_event("event", as_json(asdict(event)), str(event.id)) for event in found)
            if patience.is_over and not await patience.lasts():
                return
        await asyncio.sleep(LOOK_SECONDS)
        if patience.is_over:
            if not await patience.lasts():
                return
            yield HEARTBEAT


async def export_lines(visit: Visit, selection: audit.Selection) -> AsyncIterator[bytes]:
    """Yield the audit as it is exported, several lines at once; raises BrokenOff where the caller may not go on."""
    end = await visit.read(audit.end)
    lines, patience = export(visit.controller.engine.store.read_now, end, selection), Patience(visit)
    while chunk := await asyncio.to_thread(_joined, lines):
        yield chunk
        if visit.gate.closing or (patience.is_over and not await patience.lasts()):
            raise BrokenOff


class Patience:
    """How long a stream goes on before its caller is looked at again."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._proven_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Say whether it is time."""
        return time.monotonic() - self._proven_at >= QUIET_SECONDS

    async def lasts(self) -> bool:
        """Say whether the stream may go on."""
        self._proven_at = time.monotonic()
        return await self._visit.holds()


def _joined(lines: Iterator[str]) -> bytes:
    """Return the next lines, about a chunk of them; nothing at their end."""
    chunk = bytearray()
    for line in lines:
        chunk += line.encode() + b"\n"
        if len(chunk) >= CHUNK_BYTES:
            break
    return bytes(chunk)


def _chunks(walk: Walk, facts: Facts, shared: Follows) -> Iterator[bytes]:
    """Yield the events of one look, several at once."""
    chunk = bytearray()
    for entry in walk.look(facts):
        chunk += _event(entry.type, _entry_json(entry, shared), str(walk.cursor))
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _entry_json(entry: Entry, shared: Follows) -> bytes:
    encoded = shared.pieces.encoded(entry.ticket, entry.offset) if isinstance(entry, Printed) else None
    if encoded is None or not isinstance(entry, Printed):
        return as_json(asdict(entry))
    head = as_json(
        {name: getattr(entry, name) for name in ("type", "step", "name", "attempt", "worker", "ticket", "offset")}
    )
    return head[:-1] + b',"pieces":' + encoded + b"}"


def _event(name: str, data: bytes, cursor: str) -> bytes:
    """Return one event; `data` is JSON on one line."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (cursor.encode(), name.encode(), data)
