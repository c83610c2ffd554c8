"""Workers over HTTP: how each is, drains by hand, enrolment tokens, revocations."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from reconciler.api.faults import not_found
from reconciler.api.matching import Match, Premise, tagged
from reconciler.api.objects import After, Limit, ObjectName
from reconciler.api.ordering import Key, ordered
from reconciler.api.paging import LIMIT, Page, page_of
from reconciler.api.visits import NAME, Visited, needs
from reconciler.model.access import Permission
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Override
from reconciler.server.answers.overview import WorkerRow
from reconciler.server.answers.worker_pages import worker_page
from reconciler.server.orders.orders import Answer, CreateToken, Drain, Lift, Release, Revoke, RevokeToken, Undrain
from reconciler.server.trust.tokens import TokenRow, token_rows
from reconciler.store import overrides
from reconciler.store.database import Transaction

router = APIRouter(prefix="/spaces/{space}", tags=["workers"])

Seconds = Annotated[float, Field(gt=0.0, lt=1e9, allow_inf_nan=False, description="A span in seconds.")]
Whom = Annotated[str, Field(max_length=200, description="A worker, or a thumbprint `SHA256:…`.")]


@dataclass(frozen=True, slots=True)
class Overridden:
    """The live override of a worker; absent where Git alone counts."""

    override: Override | None


class DrainBody(BaseModel):
    """Why a worker gets nothing new, and for how long."""

    reason: str = Field(max_length=1_000, description="Shown wherever the worker is.")
    seconds: Seconds


class TokenBody(BaseModel):
    """For whom an enrolment token is."""

    worker: str = Field(max_length=63, description="The worker that the agent becomes.")
    pools: list[str] = Field(min_length=1, max_length=100, description="The pools that it is to be a member of.")
    seconds: Seconds = 3600.0
    replace: bool = Field(False, description="The worker may have another identity in Git, which this one follows.")


class ReleaseBody(BaseModel):
    """What nothing runs of any more, and how that is known."""

    whom: str = Field(max_length=200, description="A lost attempt, or a worker: all that were lost there.")
    reason: str = Field(max_length=1_000, description="Recorded with the release.")


class RevocationBody(BaseModel):
    """Whom nobody is to trust any more, and why."""

    whom: Whom
    reason: str = Field(max_length=1_000, description="Recorded with the revocation.")


class LiftBody(BaseModel):
    """Whom to trust again."""

    whom: Whom


@router.get(
    "/workers", summary="List workers", operation_id="list_workers", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def list_workers(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Page[WorkerRow]:
    """List the workers, the built-in one first."""
    rows, following = await visit.read(lambda tx: worker_page(tx, after, limit))
    return Page(items=rows, next=following)


@router.get(
    "/workers/{worker}/override",
    summary="Show a live override",
    operation_id="get_override",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_override(visit: Visited, worker: ObjectName, response: Response) -> Overridden:
    """Show who drains a worker by hand, if anybody; its `ETag` is what `If-Match` of a drain names."""
    found = await visit.read(partial(_override, worker=worker))
    tagged(response, found)
    return Overridden(found)


@router.post(
    "/workers/{worker}/drain", summary="Drain", operation_id="drain_worker", openapi_extra=needs(Permission.WORKER_EDIT)
)
async def drain(visit: Visited, worker: ObjectName, body: DrainBody, key: Key = None, match: Match = None) -> Answer:
    """Give a worker nothing new for a time, whatever Git declares."""
    order = Drain(visit.bearer.name, worker, body.reason, body.seconds)
    return await ordered(visit, order, key, Premise(match, partial(_override, worker=worker)))


@router.post(
    "/workers/{worker}/undrain",
    summary="Undrain",
    operation_id="undrain_worker",
    openapi_extra=needs(Permission.WORKER_EDIT),
)
async def undrain(visit: Visited, worker: ObjectName, key: Key = None, match: Match = None) -> Answer:
    """End the live override of a worker."""
    premise = Premise(match, partial(_override, worker=worker))
    return await ordered(visit, Undrain(visit.bearer.name, worker), key, premise)


def _override(tx: Transaction, worker: str) -> Override | None:
    return overrides.of(tx, worker, time.time())


@router.get(
    "/tokens", summary="List enrolment tokens", operation_id="list_tokens", openapi_extra=needs(Permission.WORKER_EDIT)
)
async def list_tokens(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Page[TokenRow]:
    """List the enrolment tokens of the last 30 days, the newest first; none shows its secret."""
    found = await visit.read(lambda tx: token_rows(tx, time.time()))
    return page_of(found, lambda row: row.id, after, limit)


@router.post(
    "/tokens",
    summary="Make an enrolment token",
    operation_id="create_token",
    openapi_extra=needs(Permission.WORKER_EDIT),
)
async def create_token(visit: Visited, body: TokenBody, key: Key = None) -> Answer:
    """Make a one-use token with which an agent enrols; `made` holds it, this once."""
    order = CreateToken(visit.bearer.name, body.worker, tuple(body.pools), body.seconds, body.replace)
    return await ordered(visit, order, key)


@router.post(
    "/tokens/{token}/revoke",
    summary="Revoke an enrolment token",
    operation_id="revoke_token",
    openapi_extra=needs(Permission.WORKER_EDIT),
)
async def revoke_token(
    visit: Visited,
    token: Annotated[str, Path(description="The id of a token.", pattern=NAME)],
    key: Key = None,
) -> Answer:
    """Make an enrolment token useless; an identity that has used it stays."""
    try:
        return await ordered(visit, RevokeToken(visit.bearer.name, token), key)
    except UsageMistake as error:
        raise not_found(error) from error


@router.post(
    "/releases",
    summary="Free what lost attempts hold",
    operation_id="release_attempts",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def release(visit: Visited, body: ReleaseBody, key: Key = None) -> Answer:
    """Free what a lost attempt holds alone, or all those of a worker; nothing of it runs any more."""
    return await ordered(visit, Release(visit.bearer.name, body.whom, body.reason), key)


@router.post(
    "/revocations",
    summary="Revoke an identity",
    operation_id="revoke_identity",
    openapi_extra=needs(Permission.WORKER_EDIT),
)
async def revoke(visit: Visited, body: RevocationBody, key: Key = None) -> Answer:
    """Trust a thumbprint, or all those of a worker, no longer; its session ends at once."""
    return await ordered(visit, Revoke(visit.bearer.name, body.whom, body.reason), key)


@router.post(
    "/revocations/lift",
    summary="Take a revocation back",
    operation_id="lift_revocation",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def lift(visit: Visited, body: LiftBody, key: Key = None) -> Answer:
    """Trust a thumbprint, or all those of a worker, again."""
    return await ordered(visit, Lift(visit.bearer.name, body.whom), key)
