"""Reasons over HTTP: why something is as it is, and which workers could run a step."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from reconciler.api.plans import live_and_source, load_head
from reconciler.api.visits import Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.plan.explanation import Explanation
from reconciler.server.answers.reasons import reasons
from reconciler.server.answers.steps import loads_in
from reconciler.server.planning.explaining import Question, explained

router = APIRouter(prefix="/spaces/{space}", tags=["reasons"])

Word = Annotated[str, Query(min_length=1, max_length=200)]
OptionalWord = Annotated[str | None, Query(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class Reasons:
    """Sentences about something, in order; those that belong to one before begin with spaces."""

    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """Where a step would run, as facts and in words."""

    explanation: Explanation
    sentences: tuple[str, ...]


@router.get("/why", summary="Say why", operation_id="get_why", openapi_extra=needs(Permission.WORKER_VIEW))
async def get_why(
    visit: Visited,
    address: Annotated[
        str,
        Query(
            description="`Kind/name`, `Project/name/Step`, `task/number`, `plan-…`, or a name that one object has.",
            min_length=1,
            max_length=300,
        ),
    ],
) -> Reasons:
    """Say why something is as it is: where it is declared, what was done to it, what it waits for."""
    return Reasons(await visit.read(lambda tx: tuple(reasons(tx, address))))


@router.get(
    "/explain", summary="Explain a step", operation_id="get_explain", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def get_explain(
    visit: Visited, step: Word, environment: Word, tenant: OptionalWord = None, project: OptionalWord = None
) -> Explained:
    """Say which workers could run a step of the head, and why the others not."""
    async with visit.gate.planning:
        return await asyncio.to_thread(_explain, visit, Question(step, environment, tenant, project))


def _explain(visit: Visit, question: Question) -> Explained:
    store = visit.controller.engine.store
    live, source = store.read_now(live_and_source)
    loaded = load_head(visit, live, source)
    assert loaded.desired is not None, "faults were raised"
    found = explained(question, loaded.desired, live, store.read_now(lambda tx: loads_in(tx, live)))
    return Explained(found, tuple(found.sentences()))
