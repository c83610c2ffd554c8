"""Who did what, over HTTP."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from reconciler.api.paging import LIMIT, LIMIT_MAX, Page
from reconciler.api.streams import EventStream, Lines, event_stream, export_lines
from reconciler.api.visits import Visited, needs
from reconciler.model.access import Permission
from reconciler.model.live import Event
from reconciler.server.answers.events import check_begin, events_behind
from reconciler.store import audit

NUMBER_MAX = 2**53

router = APIRouter(prefix="/spaces/{space}/events", tags=["events"])

Subject = Annotated[str | None, Query(description="Only this object, or task/NUMBER.", max_length=300)]
Actor = Annotated[str | None, Query(description="Only what this one has done.", max_length=300)]
Since = Annotated[float | None, Query(description="Only events from then on.", ge=0, lt=NUMBER_MAX)]
Until = Annotated[float | None, Query(description="Only events before then.", ge=0, lt=NUMBER_MAX)]


@router.get("", summary="List events", operation_id="list_events", openapi_extra=needs(Permission.AUDIT_VIEW))
async def list_events(
    *,
    visit: Visited,
    after: Annotated[
        int | None, Query(description="Only events after this number; without it, the last ones.", ge=0, lt=NUMBER_MAX)
    ] = None,
    subject: Subject = None,
    actor: Actor = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=LIMIT_MAX)] = LIMIT,
) -> Page[Event]:
    """List who did what to which thing, the oldest first."""
    selection = audit.Selection(since, until, actor, subject)
    if after is None:
        return Page(items=await visit.read(lambda tx: audit.newest(tx, limit, selection)))
    found = await visit.read(lambda tx: events_behind(tx, after, limit + 1, selection))
    return Page(items=found[:limit], next=str(found[limit - 1].id) if len(found) > limit else None)


@router.get(
    "/export",
    summary="Export the audit",
    operation_id="export_events",
    response_class=Response,  # a class with a media type would be that of every refusal, too
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "JSON, one object a line."}},
    openapi_extra=needs(Permission.AUDIT_VIEW),
)
async def export_events(
    visit: Visited, subject: Subject = None, actor: Actor = None, since: Since = None, until: Until = None
) -> Lines:
    """Export who did what, each event with the hash that shows that it was not changed; the first line tells the last."""
    return Lines(export_lines(visit, audit.Selection(since, until, actor, subject)))


@router.get(
    "/stream",
    summary="Follow events",
    operation_id="follow_events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events without an end."}},
    openapi_extra=needs(Permission.AUDIT_VIEW),
)
async def follow_events(
    visit: Visited,
    after: Annotated[
        int | None, Query(description="Only events after this number; without it, new ones.", ge=0, lt=NUMBER_MAX)
    ] = None,
    last_event_id: Annotated[
        int | None, Header(description="The id of the last event that came.", ge=0, lt=NUMBER_MAX)
    ] = None,
) -> EventStream:
    """Follow who does what: the id of each event is its number."""
    begin = last_event_id if last_event_id is not None else after
    if begin is None:
        begin = (await visit.read(audit.end)).event
    await visit.read(partial(check_begin, after=begin))
    return EventStream(event_stream(visit, begin))
