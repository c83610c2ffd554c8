"""Snapshots over HTTP: the live state, redacted and signed, and the keys that it is signed with."""

from typing import TypeVar

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from reconciler.api.visits import Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.server.engine.control import carry_out
from reconciler.server.orders.orders import MakeSnapshotKey
from reconciler.server.planning.snapshots import public_keys, written
from reconciler.store.database import Work

router = APIRouter(prefix="/spaces/{space}/snapshot", tags=["plans"])

Found = TypeVar("Found")


@router.get(
    "",
    summary="Make a snapshot",
    operation_id="get_snapshot",
    response_class=Response,  # a class with a media type would be that of every refusal, too
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "The content, and its signature."}},
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_snapshot(visit: Visited) -> Response:
    """Return the live state as a signed document without hosts, values of variables and secrets: `plan` plans by it."""
    sealer = visit.controller.engine.sealer
    async with visit.gate.planning:  # it reads as much as a plan
        text = await _with_key(visit, lambda tx: written(tx, lambda _: sealer))
    return Response(text, media_type="application/x-ndjson")


@router.get(
    "/keys",
    summary="Show the keys of snapshots",
    operation_id="get_snapshot_keys",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Public keys in PEM."}},
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_snapshot_keys(visit: Visited) -> Response:
    """Return the public keys that snapshots are signed with: the present one, and the next where there is one."""
    return PlainTextResponse("".join(await _with_key(visit, public_keys)))


async def _with_key(visit: Visit, work: Work[Found | None]) -> Found:
    """Read what needs the key of snapshots, which is made where there is none yet."""
    found = await visit.read(work)
    if not found:
        order = MakeSnapshotKey(visit.bearer.name)
        await visit.write(lambda tx: carry_out(tx, order, lambda _: visit.controller.engine.sealer, visit.origin))
        found = await visit.read(work)
    assert found, "the key was made"
    return found
