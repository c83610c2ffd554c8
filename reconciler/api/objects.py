"""Live objects over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from reconciler.api.faults import ApiFault
from reconciler.api.paging import LIMIT, LIMIT_MAX, Page, page_of
from reconciler.api.visits import NAME, Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.kinds import KINDS
from reconciler.server.answers.overview import ObjectRow, object_rows
from reconciler.store import objects

router = APIRouter(prefix="/spaces/{space}/objects", tags=["objects"])

KindName = Annotated[str, Path(description="A kind as in YAML, such as `WorkerPool`.", pattern=NAME)]
ObjectName = Annotated[str, Path(description="The name of an object.", pattern=NAME)]
After = Annotated[str | None, Query(description="The `next` of the page before.", max_length=200)]
Limit = Annotated[int, Query(description="At most this many.", ge=1, le=LIMIT_MAX)]


@router.get("", summary="List all objects", operation_id="list_objects", openapi_extra=needs(Permission.WORKER_VIEW))
async def list_objects(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Page[ObjectRow]:
    """List the live objects of every kind, by kind and name."""
    return page_of(await _rows(visit, None), lambda row: f"{row.kind}/{row.name}", after, limit)


@router.get(
    "/{kind}",
    summary="List the objects of a kind",
    operation_id="list_kind",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def list_kind(visit: Visited, kind: KindName, after: After = None, limit: Limit = LIMIT) -> Page[ObjectRow]:
    """List the live objects of a kind by name."""
    return page_of(await _rows(visit, _known(kind)), lambda row: row.name, after, limit)


@router.get(
    "/{kind}/{name}", summary="Show an object", operation_id="get_object", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def get_object(visit: Visited, kind: KindName, name: ObjectName) -> ObjectRow:
    """Show one live object."""
    rows = await _rows(visit, _known(kind))
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        guess = did_you_mean(name, [row.name for row in rows])
        raise ApiFault(404, f'there is no {kind} "{name}"{guess}')
    return found


async def _rows(visit: Visit, kind: str | None) -> list[ObjectRow]:
    return object_rows(await visit.read(objects.live_state), kind)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ApiFault(404, f'there is no kind "{kind}"{did_you_mean(kind, KINDS)}')
    return kind
