"""The web server of a node: the API with its description at `/api/openapi.json`, and the pages beside it."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from fastapi import APIRouter, FastAPI

from reconciler.api import (
    access,
    artifacts,
    backup,
    checkup,
    events,
    objects,
    plans,
    reasons,
    rehearsals,
    snapshots,
    spaces,
    tasks,
    trust,
    workers,
)
from reconciler.api.bounds import BodyLimit, Rates, Tagged
from reconciler.api.complaints import complaints_told
from reconciler.api.connections import Prompt
from reconciler.api.faults import RESPONSES, answer_faults
from reconciler.api.hooks import hooks
from reconciler.api.pages import pages
from reconciler.api.shortcut import Shortcut
from reconciler.api.visits import Gate
from reconciler.server.configuration import Configuration
from reconciler.server.space_service import SpaceService
from reconciler.server.trust.access_settings import HttpTable
from reconciler.server.trust.oidc import Issuers
from reconciler.server.voice import Voice

VERSION = "1"

NOUNS = (
    *(spaces, plans, rehearsals, snapshots, objects, workers, trust, tasks, artifacts, events, reasons),
    *(access, backup, checkup),
)
"""What there are operations of, in the order of the description."""

STRANGERS_SHARE = 10
"""Of what a token may, an address that shows no good one may this part."""

LEAVE_WITHIN = 2
"""Seconds that answers under way have when the server ends."""

ABOUT = """\
Each request shows a token: `Authorization: Bearer rcl_…`, made with `reconcile access create`, or one of a trusted OIDC
issuer. `x-permission` says what an operation needs. Lists come in pages; `next` is what `after` is for the next one.
"""


def web(served: Sequence[SpaceService], configuration: Configuration) -> FastAPI:
    """Return what one node answers."""
    app = FastAPI(
        title="reconciler",
        version=VERSION,
        description=ABOUT,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    settings = configuration.http
    app.state.gate = gate = Gate(
        served,
        Issuers.of(configuration.oidc),
        Rates(settings.rate, settings.burst),
        Rates(settings.rate / STRANGERS_SHARE, max(1, settings.burst // STRANGERS_SHARE)),
    )
    api = APIRouter(prefix="/api/v1", responses=RESPONSES)
    for nouns in NOUNS:
        api.include_router(nouns.router)
    app.include_router(api)
    app.include_router(pages(served))
    app.include_router(hooks(served))
    app.add_middleware(Shortcut, gate=gate)
    app.add_middleware(Tagged)
    app.add_middleware(BodyLimit)
    answer_faults(app)
    return app


class _Guest(uvicorn.Server):
    """A web server in somebody else's process: signals are not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(
    served: Sequence[SpaceService], configuration: Configuration, listening: socket.socket, voice: Voice
) -> None:
    """Serve on a bound socket until cancelled."""
    settings: HttpTable = configuration.http
    app = web(served, configuration)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        http=Prompt,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=LEAVE_WITHIN,
    )
    guest = _Guest(config)
    with complaints_told(voice):
        serving = asyncio.create_task(guest.serve(sockets=[listening]))
        try:
            await asyncio.shield(serving)
        finally:
            app.state.gate.closing = guest.should_exit = True
            await serving
