"""A backup of a space over HTTP, as it is written: the tar file that `backup` makes beside the state, without the key."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from fastapi.responses import Response

from reconciler.api.streams import BrokenOff, Patience, Whole
from reconciler.api.visits import Visit, Visited, needs
from reconciler.declare.beside import Beside
from reconciler.model.access import Permission
from reconciler.model.errors import Conflict, ReconcilerError
from reconciler.server.state.backup import back_up, record_backup

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
    pieces = _pieces(visit)
    try:
        first = await anext(pieces)  # what keeps a backup from being made is answered as a refusal
        await visit.write(lambda tx: record_backup(tx, visit.bearer.name, visit.origin, time.time()))
    except BaseException:
        await pieces.aclose()
        raise
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
    """Yield a backup while a thread writes it into a pipe; raises Conflict while another is made, and what that raises."""
    loop, name, busy = asyncio.get_running_loop(), visit.service.name, visit.gate.backups
    if name in busy:
        raise Conflict(f"a backup of {name} is being made already", "try again when it is done")
    reading, writing = os.pipe()
    busy.add(name)
    reader = asyncio.StreamReader(limit=PIECE_BYTES)
    pipe, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    written = Beside(lambda: _write(visit, writing))  # nobody waits for that thread when the server ends
    try:
        while piece := await reader.read(PIECE_BYTES):
            yield piece
        await asyncio.to_thread(written.result)
    finally:
        pipe.close()  # who writes into it then ends


def _write(visit: Visit, pipe: int) -> None:
    try:
        with os.fdopen(pipe, "wb", buffering=0) as out:
            back_up(visit.controller.engine.place, out, with_key=False)
    finally:
        visit.gate.backups.discard(visit.service.name)
