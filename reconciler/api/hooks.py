"""The calls of forges, which say that a repository has moved."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from reconciler.api.bounds import BODY_WITHIN
from reconciler.api.visits import address_of, gate_of
from reconciler.server.sources.webhooks import BODY_BYTES_MAX, NotProven, check_call, concerns
from reconciler.server.space_service import SpaceService

RETRY_AFTER = "60"
"""Seconds; somebody has to put the secret back."""


def hooks(spaces: Sequence[SpaceService]) -> APIRouter:
    """Return where forges call the spaces of one node; a call proves itself by a shared secret."""
    router = APIRouter(include_in_schema=False)
    without_secret: set[str] = set()

    @router.post("/hooks/{name}")
    async def hook(name: str, request: Request) -> Response:
        space = next((space for space in spaces if space.name == name), None)
        settings = space.followed.settings if space is not None else None
        if space is None or settings is None or settings.webhook is None:
            return Response("no source of this name takes calls\n", 404)
        try:
            async with asyncio.timeout(BODY_WITHIN):
                body = await _body(request)
        except TimeoutError:
            return Response(f"the body did not come within {BODY_WITHIN:g} s\n", 408, {"connection": "close"})
        if body is None:
            return Response(f"a call has {BODY_BYTES_MAX >> 20} MiB at most\n", 413)
        try:
            secret = settings.webhook.secret()
        except OSError as error:
            if name not in without_secret:
                without_secret.add(name)
                space.voice.warn("calls cannot be checked", reason=f"{error.filename}: {error.strerror}")
            return _too_many(request) or _without_secret()
        without_secret.discard(name)
        try:
            check_call(settings.webhook.kind, request.headers, body, secret)
        except NotProven as error:
            if refusal := _too_many(request):
                return refusal
            space.voice.warn("call refused", reason=error.message, peer=address_of(request))
            return Response(f"{error.message}\n", 403)
        if space.post.controller is not None and concerns(settings.ref, body):
            space.post.controller.wake()
        return Response(status_code=202)

    return router


def _too_many(request: Request) -> Response | None:
    """Return the refusal of a call without proof from where too many came."""
    if seconds := gate_of(request).strangers.take(address_of(request)):
        return Response("too many calls without proof\n", 429, {"retry-after": str(seconds)})
    return None


def _without_secret() -> Response:
    return Response("no call can be checked: the server's log tells more\n", 503, {"retry-after": RETRY_AFTER})


async def _body(request: Request) -> bytes | None:
    """Return the body of a call, None where it is too long; no more than that is ever held."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
