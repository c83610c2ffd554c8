"""Rehearsals over HTTP: what the declared fleet would make of its deployments, on virtual time."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from reconciler.api.plans import live_and_source, load_head
from reconciler.api.visits import Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.server.planning.drifting import check_for
from reconciler.server.planning.rehearsing import (
    RehearsalForm,
    ShownRehearsal,
    Wanted,
    durations_recorded,
    rehearsal,
    shown_rehearsal,
)

WITHIN = 60.0
"""Seconds that one may take: it has a processor of the server meanwhile."""

REPEATS_MAX = 100

router = APIRouter(prefix="/spaces/{space}", tags=["plans"])

Text = Annotated[str, Field(max_length=300)]
Texts = Annotated[list[Text], Field(max_length=1_000)]


class RehearsalBody(BaseModel):
    """What is played; the texts are those of the options of `reconcile rehearse`."""

    commit: str | None = Field(
        None, pattern=r"^[0-9a-f]{7,64}$", description="A commit that the source has; absent, the head."
    )
    seed: int = Field(0, ge=0, lt=2**53, description="What durations are drawn by.")
    repeat: int = Field(1, ge=1, le=REPEATS_MAX, description="Play it so often, with the seeds from `seed` on.")
    everything: bool = Field(False, description="Every declared deployment, not only what a plan would queue.")
    workers: Texts = Field([], description="What if a pool had more or fewer workers: `POOL=+2`, `POOL=-1`, `POOL=3`.")
    durations: Texts = Field([], description="How long steps take: `STEP=10s`, `PROJECT/STEP=5s..20s`.")
    default: Text = Field("30s", description="How long steps take of which nothing else is known.")
    failing: Texts = Field([], description="Steps that fail: `STEP`, `PROJECT/STEP`.")
    form: RehearsalForm = Field(RehearsalForm.JSON, description="How it is shown: `records` with json, else `text`.")


@router.post(
    "/rehearsal", summary="Rehearse a commit", operation_id="rehearse", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def rehearse(visit: Visited, body: RehearsalBody) -> ShownRehearsal:
    """Play the deployments of a commit on its workers with the real scheduler, on virtual time. Nothing is run or written."""
    async with visit.gate.planning:
        return await asyncio.to_thread(_rehearsed, visit, body)


def _rehearsed(visit: Visit, body: RehearsalBody) -> ShownRehearsal:
    store = visit.controller.engine.store
    live, source = store.read_now(live_and_source)
    loaded = load_head(visit, live, source, body.commit)
    wanted = Wanted(
        tuple(range(body.seed, body.seed + body.repeat)),
        body.everything,
        tuple(body.workers),
        tuple(body.durations),
        body.default,
        tuple(body.failing),
        ends_at=time.monotonic() + WITHIN,
    )
    assert loaded.desired is not None, "it was checked"
    check_for(visit.controller.engine.place, source)(loaded, live)
    report = rehearsal(loaded.desired, live, store.read_now(durations_recorded), wanted)
    return shown_rehearsal(report, body.form)
