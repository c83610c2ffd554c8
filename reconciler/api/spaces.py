"""Spaces over HTTP: how each stands, the commits that it follows, and how people steer it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from reconciler.api.faults import ApiFault
from reconciler.api.matching import Match, Premise, tagged
from reconciler.api.objects import After, Limit
from reconciler.api.ordering import Key, ordered
from reconciler.api.paging import LIMIT, Page, page_of
from reconciler.api.visits import Known, Visit, Visited, gate_of, needs
from reconciler.api.workers import Seconds
from reconciler.model.access import Permission
from reconciler.model.errors import Conflict
from reconciler.model.following import Condition, Judged, SourceState, Suspension
from reconciler.server.answers.commit_names import Standing, repositories, standing, whole_name
from reconciler.server.answers.overview import Overview, overview
from reconciler.server.orders.orders import Answer, Resume, Suspend
from reconciler.store import following
from reconciler.store.database import Transaction

LOOK_WITHIN = 90.0
"""Seconds that a look at the source may take before whoever asked for it is told so."""

router = APIRouter(prefix="/spaces", tags=["spaces"])

CommitName = Annotated[
    str,
    Path(description="A commit by its name, or the beginning of it: at least 7 digits.", pattern=r"^[0-9a-f]{7,64}$"),
]


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space of this server: whether this node leads it, else who does; and the commit that was judged last."""

    name: str
    leads: bool
    leader: str
    revision: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a space stands, and whether somebody has suspended it."""

    conditions: tuple[Condition, ...]
    suspension: Suspension | None


@dataclass(frozen=True, slots=True)
class Suspended:
    """The suspension that stands; absent where commits are carried out."""

    suspension: Suspension | None


class SuspendBody(BaseModel):
    """Why no commit is carried out, and for how long."""

    reason: str = Field(max_length=1_000, description="Shown wherever somebody waits.")
    seconds: Seconds


@router.get("", summary="List spaces", operation_id="list_spaces", openapi_extra=needs(Permission.WORKER_VIEW))
async def list_spaces(request: Request, caller: Known) -> Page[SpaceRow]:
    """List the spaces of this server that the token has a role in."""
    bearer, _ = caller
    rows = []
    for space in gate_of(request).spaces:
        if space.name and bearer.may(Permission.WORKER_VIEW, space.name):
            controller = space.post.controller
            leader = space.post.name if controller is not None else space.post.leader
            revision = controller.revision if controller is not None else ""
            rows.append(SpaceRow(space.name, controller is not None, leader, revision))
    if not rows:
        raise ApiFault(403, "the token has no role that gives WorkerView in any space here", "ask for another token")
    return Page(items=rows)


@router.get(
    "/{space}/status",
    summary="Show how all stands",
    operation_id="get_status",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_status(visit: Visited) -> Overview:
    """Show what is: the space, its workers, its deployments and what waits for whom."""
    return await visit.read(lambda tx: overview(tx, engine_runs=True))


@router.get(
    "/{space}/conditions",
    summary="Show the conditions",
    operation_id="get_conditions",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_conditions(visit: Visited) -> Conditions:
    """Show whether all is as declared, whether something is under way, and whether a person is needed."""
    return await visit.read(
        lambda tx: Conditions(tuple(following.conditions(tx).values()), following.suspension(tx, time.time()))
    )


@router.get(
    "/{space}/commits", summary="List commits", operation_id="list_commits", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def list_commits(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Page[Judged]:
    """List the commits that were judged, the newest first, and what became of each."""
    return page_of(await visit.read(following.commits), lambda commit: commit.revision, after, limit)


@router.get(
    "/{space}/commits/{commit}/standing",
    summary="Show where a commit stands",
    operation_id="get_standing",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_standing(visit: Visited, commit: CommitName) -> Standing:
    """Show whether a commit, or one that descends from it, has become reality; ask again while it is under way."""
    return await asyncio.to_thread(_standing, visit, commit)


@router.post(
    "/{space}/look",
    summary="Look at the source now",
    operation_id="look",
    openapi_extra=needs(Permission.DEPLOYMENT_RUN),
)
async def look(visit: Visited) -> SourceState:
    """Have the source looked at now, and answer how it was found; its head is judged after that."""
    try:
        async with asyncio.timeout(LOOK_WITHIN):
            await visit.controller.look()
    except TimeoutError:
        raise Conflict(
            f"the source was not looked at within {LOOK_WITHIN:g} s", "`reconcile status` shows how things stand"
        ) from None
    found = await visit.read(following.source)
    assert found is not None, "it was looked at"
    return found


@router.get(
    "/{space}/suspension",
    summary="Show the suspension",
    operation_id="get_suspension",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_suspension(visit: Visited, response: Response) -> Suspended:
    """Show who has suspended the space, if anybody; its `ETag` is what `If-Match` of a suspension names."""
    found = await visit.read(_suspension)
    tagged(response, found)
    return Suspended(found)


@router.post("/{space}/suspend", summary="Suspend", operation_id="suspend", openapi_extra=needs(Permission.ADMINISTER))
async def suspend(visit: Visited, body: SuspendBody, key: Key = None, match: Match = None) -> Answer:
    """Carry no commit out for a time; what runs goes on."""
    order = Suspend(visit.bearer.name, body.reason, body.seconds)
    return await ordered(visit, order, key, Premise(match, _suspension))


@router.post("/{space}/resume", summary="Resume", operation_id="resume", openapi_extra=needs(Permission.ADMINISTER))
async def resume(visit: Visited, key: Key = None, match: Match = None) -> Answer:
    """End the suspension: the head of the source is judged again."""
    return await ordered(visit, Resume(visit.bearer.name), key, Premise(match, _suspension))


def _suspension(tx: Transaction) -> Suspension | None:
    return following.suspension(tx, time.time())


def _standing(visit: Visit, commit: str) -> Standing:
    roots = repositories(visit.controller.engine.place)
    named = whole_name(roots, commit) or commit
    return visit.controller.engine.store.read_now(lambda tx: standing(tx, named, roots, engine_runs=True))
