"""The pages beside the API: health, readiness and metrics."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Response

from reconciler.api.sharing import Look
from reconciler.server.metrics import exposition
from reconciler.server.space_service import SpaceService
from reconciler.store.migrations import confirm

STORE_SECONDS = 5.0
"""In which the store has to take a write, else the server is not healthy."""


def pages(spaces: Sequence[SpaceService]) -> APIRouter:
    """Return the pages of one node; none asks for a token."""
    router = APIRouter(include_in_schema=False)
    looks, measured = [Look[bool]() for _ in spaces], Look[bytes]()

    @router.get("/healthz")
    async def health() -> dict[str, object]:
        async with asyncio.timeout(STORE_SECONDS):
            facts = [await _health(space, look) for space, look in zip(spaces, looks, strict=True)]
        if len(facts) == 1:
            return {"status": "ok", **facts[0]}
        return {"status": "ok", "spaces": {space.name: fact for space, fact in zip(spaces, facts, strict=True)}}

    @router.get("/readyz")
    async def readiness(response: Response) -> dict[str, object]:
        waiting = [space.name for space in spaces if not _is_ready(space)]
        response.status_code = 503 if waiting else 200
        return {"ready": not waiting, "waiting": waiting}

    @router.get("/metrics")
    async def metrics() -> Response:
        text = await measured.fresh(lambda: exposition(spaces))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


async def _health(space: SpaceService, takes: Look[bool]) -> dict[str, object]:
    """Return how a space is here; raises where its store takes no write, which is tried once for all who ask."""
    post, controller = space.post, space.post.controller
    facts: dict[str, object] = {"role": post.role, "node": post.name}
    if controller is None:
        return {**facts, "leader": post.leader}
    store = controller.engine.store

    async def tried() -> bool:
        await store.write(confirm)
        return True

    await takes.fresh(tried)
    return {**facts, "revision": controller.revision, "agents": controller.running.roster.sessions}


def _is_ready(space: SpaceService) -> bool:
    """Say whether the space does what it is there for: it has judged a commit, or another node leads."""
    controller = space.post.controller
    return bool(space.post.leader) if controller is None else bool(controller.revision)
