"""A backup of a space over HTTP, as it is written: the tar file that `backup` makes beside the state, without the key."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from io import FileIO

from fastapi import APIRouter
from fastapi.responses import Response

from reconciler.api.streams import BrokenOff, Patience, Whole
from reconciler.api.visits import Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.model.errors import ReconcilerError
from reconciler.server.state.backup import back_up, record_backup
from reconciler.server.state.place import Place

PIECE_BYTES = 1 << 18
"""Read of the pipe and sent at once."""

router = APIRouter(prefix="/spaces/{space}/backup", tags=["operation"])


class Tar(Whole):
    """A tar file that ends with its manifest."""

    media_type = "application/x-tar"


@router.get(
    "",
    summary="Make a backup",
    operation_id="get_backup",
    response_class=Response,  # a class with a media type would be that of every refusal, too
    responses={200: {"content": {"application/x-tar": {}}, "description": "The database, logs, artifacts, scripts."}},
    openapi_extra=needs(Permission.ADMINISTER),
)
async def get_backup(visit: Visited) -> Tar:
    """Return the whole state as it is now in one tar file, without the key that opens its secrets; the audit says so."""
    async with AsyncExitStack() as undoing:
        pieces = await undoing.enter_async_context(aclosing(_pieces(visit)))
        first = await anext(pieces)  # what keeps a backup from being made is answered as a refusal
        await visit.write(lambda tx: record_backup(tx, visit.bearer.name, visit.origin, time.time()))
        undoing.pop_all()
    return Tar(_from(first, pieces, visit))


async def _from(first: bytes, pieces: AsyncGenerator[bytes, None], visit: Visit) -> AsyncIterator[bytes]:
    """Yield a backup that has begun; raises BrokenOff where it does not come to its end, or the caller may not go on."""
    patience = Patience(visit)
    async with aclosing(pieces):
        try:
            yield first
            async for piece in pieces:
                yield piece
                if visit.gate.closing or (patience.is_over and not await patience.lasts()):
                    raise BrokenOff
        except (OSError, ReconcilerError) as error:
            visit.service.voice.warn("backup broken off", reason=str(error))
            raise BrokenOff from None


async def _pieces(visit: Visit) -> AsyncGenerator[bytes, None]:
    """Yield a backup while a thread writes it into a pipe; raises Conflict while others are made, and what that raises."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=PIECE_BYTES)
    ends = os.pipe()
    reading, writing = os.fdopen(ends[0], "rb", buffering=0), os.fdopen(ends[1], "wb", buffering=0)
    with ExitStack() as stack:
        stack.callback(reading.close)
        stack.callback(writing.close)
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), reading)
        stack.callback(pipe.close)
        place = visit.controller.engine.place
        written = visit.gate.backups.begin(visit.service.name, lambda: _write(place, writing))
        stack.pop_all()
    try:
        while piece := await reader.read(PIECE_BYTES):
            yield piece
        await asyncio.to_thread(written.result)  # it ends now
    finally:
        pipe.close()  # who writes into it then ends


def _write(place: Place, pipe: FileIO) -> None:
    with pipe:
        back_up(place, pipe, with_key=False)
