"""Tokens of the API over HTTP. Nobody gives by one what they may not do themselves: its maker administers where it holds."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from reconciler.api.faults import ApiFault, not_found
from reconciler.api.objects import After, Limit
from reconciler.api.ordering import Key, ordered
from reconciler.api.paging import LIMIT, Page, page_of
from reconciler.api.visits import NAME, Visited, needs
from reconciler.api.workers import Seconds
from reconciler.model.access import EVERY_SPACE, Bearer, Permission
from reconciler.model.errors import UsageMistake
from reconciler.server.answers.access import AccessRow, access_rows
from reconciler.server.orders.orders import Answer, CreateAccess, RevokeAccess
from reconciler.store import access
from reconciler.store.database import Transaction

LASTING = 90 * 86_400.0
"""Seconds that a token holds where nobody says how long."""

router = APIRouter(prefix="/spaces/{space}/access", tags=["access"])


class AccessBody(BaseModel):
    """What a token of the API is to be called, what it may do, and for how long."""

    name: str = Field(max_length=63, description="The audit names what it does after this.")
    roles: list[str] = Field(min_length=1, max_length=20, description="What it may do.")
    seconds: Seconds = LASTING
    every_space: bool = Field(False, description="In every space of the server, not in this one alone.")


@dataclass(frozen=True, slots=True)
class Revoking:
    """A caller who revokes a token: they administer wherever it holds."""

    bearer: Bearer
    token: str

    def check(self, tx: Transaction) -> None:
        """Raise 403 where the token holds in a space that the caller does not administer."""
        found = access.token(tx, self.token)
        if found is not None:
            for grant in found.grants:
                _check(self.bearer, grant.space)


@router.get(
    "", summary="List tokens of the API", operation_id="list_access", openapi_extra=needs(Permission.ADMINISTER)
)
async def list_access(visit: Visited, after: After = None, limit: Limit = LIMIT) -> Page[AccessRow]:
    """List the tokens of the API that this space keeps, by name; none shows its secret."""
    found = await visit.read(lambda tx: access_rows(tx, time.time()))
    return page_of(found, lambda row: row.name, after, limit)


@router.post(
    "", summary="Make a token of the API", operation_id="create_access", openapi_extra=needs(Permission.ADMINISTER)
)
async def create_access(visit: Visited, body: AccessBody, key: Key = None) -> Answer:
    """Make a token of the API; `made` holds it, this once."""
    _check(visit.bearer, EVERY_SPACE if body.every_space else visit.service.name)
    space = EVERY_SPACE if body.every_space else ""  # that of the state, which refuses before it has one
    order = CreateAccess(visit.bearer.name, body.name, tuple(body.roles), space, body.seconds)
    return await ordered(visit, order, key)


@router.post(
    "/{name}/revoke",
    summary="Revoke a token of the API",
    operation_id="revoke_access",
    openapi_extra=needs(Permission.ADMINISTER),
)
async def revoke_access(
    visit: Visited,
    name: Annotated[str, Path(description="The name of a token.", pattern=NAME)],
    key: Key = None,
) -> Answer:
    """Make a token of the API useless at once."""
    try:
        return await ordered(visit, RevokeAccess(visit.bearer.name, name), key, Revoking(visit.bearer, name))
    except UsageMistake as error:
        raise not_found(error) from error


def _check(bearer: Bearer, space: str) -> None:
    if not bearer.may(Permission.ADMINISTER, space):
        where = "every space" if space == EVERY_SPACE else f"the space {space}"
        raise ApiFault(403, f"{bearer.name} does not administer {where}", "ask somebody who does")
