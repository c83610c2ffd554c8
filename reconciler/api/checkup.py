"""The checkup of a server over HTTP: what `doctor` finds beside the state, as the server's own account sees it."""

import time
from functools import partial

from fastapi import APIRouter

from reconciler.api.paging import Page
from reconciler.api.visits import Visited, needs
from reconciler.model.access import Permission
from reconciler.server.checkup.checkup import found_in_space
from reconciler.server.checkup.findings import Finding

router = APIRouter(prefix="/spaces/{space}/checkup", tags=["operation"])


@router.get("", summary="Check the server", operation_id="get_checkup", openapi_extra=needs(Permission.ADMINISTER))
async def get_checkup(visit: Visited) -> Page[Finding]:
    """Check the machine, the state and the configuration of this space's server; nothing is changed."""
    call = partial(found_in_space, visit.service, time.time())
    return Page(items=await visit.gate.checkups.result(visit.service.name, call))
