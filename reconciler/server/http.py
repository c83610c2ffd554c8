"""Health and metrics over HTTP, for whatever watches the server."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI, Response

from reconciler.server.following import Follower
from reconciler.server.metrics import exposition
from reconciler.store.migrations import confirm

STORE_SECONDS = 5.0
"""In which the store has to take a write, else the server is not healthy."""


def web(follower: Follower) -> FastAPI:
    """Return the pages of one server."""
    app = FastAPI(title="reconciler", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def health() -> dict[str, object]:
        async with asyncio.timeout(STORE_SECONDS):
            await follower.engine.store.write(confirm)
        return {"status": "ok", "revision": follower.revision, "agents": follower.running.roster.sessions}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(exposition(follower), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


class _Guest(uvicorn.Server):
    """A web server in somebody else's process: signals are not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(follower: Follower, listening: socket.socket) -> None:
    """Serve on a bound socket until cancelled."""
    config = uvicorn.Config(web(follower), log_config=None, access_log=False, lifespan="off")
    await _Guest(config).serve(sockets=[listening])
