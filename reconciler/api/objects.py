"""Live objects over HTTP."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from reconciler.api.faults import ApiFault
from reconciler.api.paging import LIMIT, LIMIT_MAX, Page
from reconciler.api.visits import NAME, Visited, needs
from reconciler.model.access import Permission
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.kinds import KINDS
from reconciler.model.live import LiveObject
from reconciler.model.spec import Address
from reconciler.server.answers.overview import ObjectRow
from reconciler.store import objects
from reconciler.store.database import Transaction

router = APIRouter(prefix="/spaces/{space}/objects", tags=["objects"])

KindName = Annotated[str, Path(description="A kind as in YAML, such as `WorkerPool`.", pattern=NAME)]
ObjectName = Annotated[str, Path(description="The name of an object.", pattern=NAME)]
After = Annotated[
    str | None, Query(description="The `next` of the page before.", max_length=500, pattern=r"^[^\x00]*$")
]
Limit = Annotated[int, Query(description="At most this many.", ge=1, le=LIMIT_MAX)]


@router.get(
    "",
    summary="List all objects",
    operation_id="list_objects",
    response_model=Page[ObjectRow],
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def list_objects(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Response:
    """List the live objects of every kind, by kind and name."""
    kind, _, name = (after or "").partition("/")
    begin = Address(kind, name)
    return await visit.read(lambda tx: _page(objects.page(tx, begin, None, limit + 1), limit, str))


@router.get(
    "/{kind}",
    summary="List the objects of a kind",
    operation_id="list_kind",
    response_model=Page[ObjectRow],
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def list_kind(visit: Visited, kind: KindName, after: After = None, limit: Limit = LIMIT) -> Response:
    """List the live objects of a kind by name."""
    begin = Address(_known(kind), after or "")
    return await visit.read(lambda tx: _page(objects.page(tx, begin, kind, limit + 1), limit, _name))


@router.get(
    "/{kind}/{name}",
    summary="Show an object",
    operation_id="get_object",
    response_model=ObjectRow,
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_object(visit: Visited, kind: KindName, name: ObjectName) -> Response:
    """Show one live object."""
    address = Address(_known(kind), name)

    def found(tx: Transaction) -> LiveObject:
        one = objects.one(tx, address)
        if one is None:
            raise ApiFault(404, f'there is no {kind} "{name}"{did_you_mean(name, objects.names(tx, kind))}')
        return one

    return _json(encoded(await visit.read(found)))


def encoded(found: LiveObject) -> bytes:
    """Return an object as JSON, as an ObjectRow is written; what the state holds as JSON is taken as it is."""
    text = json.dumps
    line = (
        f'{{"kind":{text(found.address.kind)},"name":{text(found.address.name)},"metadata":{found.metadata},'
        f'"spec":{found.spec},"file":{text(found.position.file)},"line":{found.position.line},'
        f'"revision":{text(found.revision)},"generation":{found.generation},'
        f'"protected":{"true" if found.protected else "false"},"digest":{text(found.digest)}}}'
    )
    return line.encode()


def _page(found: Sequence[LiveObject], limit: int, key: Callable[[Address], str]) -> Response:
    """Return a page of what was found; one more than is on it says that there is a next one."""
    following = json.dumps(key(found[limit - 1].address) if len(found) > limit else None)
    return _json(b'{"items":[%s],"next":%s}' % (b",".join(map(encoded, found[:limit])), following.encode()))


def _name(address: Address) -> str:
    return address.name


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ApiFault(404, f'there is no kind "{kind}"{did_you_mean(kind, KINDS)}')
    return kind
