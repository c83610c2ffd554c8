"""The pages beside the API: health, readiness, metrics, and the calls of forges."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from reconciler.server.metrics import exposition
from reconciler.server.space_service import SpaceService
from reconciler.server.webhooks import BODY_BYTES_MAX, NotProven, check_call, concerns
from reconciler.store.migrations import confirm

STORE_SECONDS = 5.0
"""In which the store has to take a write, else the server is not healthy."""


def pages(spaces: Sequence[SpaceService]) -> APIRouter:
    """Return the pages of one node; none asks for a token."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def health() -> dict[str, object]:
        async with asyncio.timeout(STORE_SECONDS):
            facts = [await _health(space) for space in spaces]
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
        return Response(await exposition(spaces), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.post("/hooks/{name}")
    async def hook(name: str, request: Request) -> Response:
        space = next((space for space in spaces if space.name == name), None)
        settings = space.followed.settings if space is not None else None
        if space is None or settings is None or settings.webhook is None:
            return Response("no source of this name takes calls\n", 404)
        body = await _body(request)
        if body is None:
            return Response(f"a call has {BODY_BYTES_MAX >> 20} MiB at most\n", 413)
        try:
            check_call(settings.webhook.kind, request.headers, body, settings.webhook.secret())
        except NotProven as error:
            space.voice.warn("call refused", reason=error.message, peer=request.client.host if request.client else "")
            return Response(f"{error.message}\n", 403)
        if space.post.controller is not None and concerns(settings.ref, body):
            space.post.controller.wake()
        return Response(status_code=202)

    return router


async def _health(space: SpaceService) -> dict[str, object]:
    post, controller = space.post, space.post.controller
    facts: dict[str, object] = {"role": post.role, "node": post.name}
    if controller is None:
        return {**facts, "leader": post.leader}
    await controller.engine.store.write(confirm)
    return {**facts, "revision": controller.revision, "agents": controller.running.roster.sessions}


def _is_ready(space: SpaceService) -> bool:
    """Say whether the space does what it is there for: it has judged a commit, or another node leads."""
    controller = space.post.controller
    return bool(space.post.leader) if controller is None else bool(controller.revision)


async def _body(request: Request) -> bytes | None:
    """Return the body of a call, None where it is too long; no more than that is ever held."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
