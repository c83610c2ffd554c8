"""The installation's own keys over HTTP: what they are, and the three steps in which each is changed."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from reconciler.api.ordering import Key, ordered
from reconciler.api.visits import Visited, needs
from reconciler.model.access import Permission
from reconciler.model.trust import Purpose
from reconciler.server.answers.trust import Trust, trust
from reconciler.server.orders.orders import Answer, Retire, Stage, Switch

router = APIRouter(prefix="/spaces/{space}/trust", tags=["trust"])

PurposeName = Annotated[Purpose, Path(description="What the key is for.")]


class SwitchBody(BaseModel):
    """Whether the next key is put to use in any case."""

    force: bool = Field(False, description="Even if workers have not heard of the server's next key.")


class RetireBody(BaseModel):
    """Whether the trust in the former key ends in any case."""

    force: bool = Field(False, description="Even if workers still rest on the former authority.")


@router.get("", summary="Show the keys", operation_id="get_trust", openapi_extra=needs(Permission.WORKER_VIEW))
async def get_trust(visit: Visited) -> Trust:
    """Show the installation's own keys with their certificates, and what is revoked."""
    return await visit.read(trust)


@router.post(
    "/{purpose}/stage",
    summary="Make the next key",
    operation_id="stage_key",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def stage(visit: Visited, purpose: PurposeName, key: Key = None) -> Answer:
    """Make the next key, which agents hear of; a next authority is trusted at once."""
    return await ordered(visit, Stage(visit.bearer.name, purpose.value), key)


@router.post(
    "/{purpose}/switch",
    summary="Put the next key to use",
    operation_id="switch_key",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def switch(visit: Visited, purpose: PurposeName, body: SwitchBody, key: Key = None) -> Answer:
    """Put the next key to use."""
    return await ordered(visit, Switch(visit.bearer.name, purpose.value, body.force), key)


@router.post(
    "/{purpose}/retire",
    summary="End the trust in the former key",
    operation_id="retire_key",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def retire(visit: Visited, purpose: PurposeName, body: RetireBody, key: Key = None) -> Answer:
    """End the trust in the former key, and forget it."""
    return await ordered(visit, Retire(visit.bearer.name, purpose.value, body.force), key)
