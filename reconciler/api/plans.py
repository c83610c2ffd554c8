"""Plans over HTTP: what a commit would change, what was changed behind Git's back, and the plans that wait for a person."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from reconciler.api.faults import ApiFault
from reconciler.api.matching import Match, Premise, tagged
from reconciler.api.ordering import Key, ordered
from reconciler.api.paging import Page
from reconciler.api.tasks import Notes
from reconciler.api.visits import NAME, Visit, Visited, needs
from reconciler.declare.load import Loaded, load
from reconciler.declare.mirror import FetchFailed
from reconciler.declare.signatures import Unsigned
from reconciler.model.access import Permission
from reconciler.model.errors import Conflict, Invalid
from reconciler.model.following import Proposal, SourceState, Verdict, plan_name
from reconciler.model.live import LiveState
from reconciler.server.answers.commit_names import repositories, whole_name
from reconciler.server.orders.orders import Answer, DecidePlan
from reconciler.server.planning.choosing import options_of
from reconciler.server.planning.drifting import check_for, drift, load_applied, load_commit
from reconciler.server.planning.planning import files_of, plan_space
from reconciler.server.planning.shown import Form, ShownPlan, faulty, saved, shown
from reconciler.store import following, objects
from reconciler.store.database import Transaction

TREE = "tree:"
"""What the name of a working tree begins with that is no commit."""

router = APIRouter(prefix="/spaces/{space}", tags=["plans"])

PlanName = Annotated[str, Path(description="The name of a plan: `plan-…`.", pattern=NAME)]


class PlanBody(BaseModel):
    """What is to be planned, and how it is shown."""

    commit: str | None = Field(
        None, pattern=r"^[0-9a-f]{7,64}$", description="A commit that the source has; absent, the head."
    )
    targets: list[str] = Field([], max_length=1_000, description="Only these, and what they need.")
    excludes: list[str] = Field([], max_length=1_000, description="Without these, and what needs them.")
    removals_max: str | None = Field(None, max_length=20, description="Allow this many removals per kind.")
    retry_failed: bool = Field(False, description="Run again what failed at its present digest.")
    form: Form = Field(Form.JSON, description="How it is shown: `records` with json, else `text`.")
    save: bool = Field(False, description="Answer what a plan file holds, too.")


@router.get(
    "/plans", summary="List plans that wait", operation_id="list_plans", openapi_extra=needs(Permission.WORKER_VIEW)
)
async def list_plans(visit: Visited) -> Page[Proposal]:
    """List the plans that wait for a person, or were decided and not carried out yet; `digest` begins with the name."""
    return Page(items=await visit.read(following.proposals))


@router.get(
    "/plans/{plan}",
    summary="Show a plan that waits",
    operation_id="get_plan",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_plan(visit: Visited, plan: PlanName, response: Response) -> Proposal:
    """Show a plan that waits for a person, or was decided; its `ETag` is what `If-Match` of a decision names."""
    found = await visit.read(partial(_proposal, plan=plan))
    if found is None:
        raise _no_plan(plan)
    tagged(response, found)
    return found


@router.get(
    "/plans/{plan}/changes",
    summary="Show what a plan holds that waits",
    operation_id="get_plan_changes",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_plan_changes(
    visit: Visited, plan: PlanName, form: Annotated[Form, Query(description="How it is shown.")] = Form.JSON
) -> ShownPlan:
    """Show what a plan holds that waits for a person, as the controller has made it."""
    waiting = visit.controller.waiting
    if waiting is None or plan_name(waiting.asked) != plan:
        raise _no_plan(plan)
    return await asyncio.to_thread(shown, waiting.plan, form)


@router.post(
    "/plans/{plan}/approve",
    summary="Approve a plan",
    operation_id="approve_plan",
    openapi_extra=needs(Permission.INTERVENTION_SUBMIT),
)
async def approve_plan(visit: Visited, plan: PlanName, body: Notes, key: Key = None, match: Match = None) -> Answer:
    """Have a plan carried out that waits."""
    order = DecidePlan(visit.bearer.name, plan, "approve", body.notes)
    return await ordered(visit, order, key, Premise(match, partial(_proposal, plan=plan)))


@router.post(
    "/plans/{plan}/reject",
    summary="Reject a plan",
    operation_id="reject_plan",
    openapi_extra=needs(Permission.INTERVENTION_SUBMIT),
)
async def reject_plan(visit: Visited, plan: PlanName, body: Notes, key: Key = None, match: Match = None) -> Answer:
    """Have a plan not carried out that waits."""
    order = DecidePlan(visit.bearer.name, plan, "reject", body.notes)
    return await ordered(visit, order, key, Premise(match, partial(_proposal, plan=plan)))


@router.post("/plan", summary="Plan a commit", operation_id="plan", openapi_extra=needs(Permission.WORKER_VIEW))
async def plan(visit: Visited, body: PlanBody) -> ShownPlan:
    """Show what a commit would change, against the live state. Nothing is written."""
    async with visit.gate.planning:
        return await asyncio.to_thread(_plan, visit, body)


@router.get("/drift", summary="Show drift", operation_id="get_drift", openapi_extra=needs(Permission.WORKER_VIEW))
async def get_drift(
    visit: Visited, form: Annotated[Form, Query(description="How it is shown.")] = Form.JSON
) -> ShownPlan:
    """Compare the live state with the commit that was applied last: only what was changed behind Git's back."""
    async with visit.gate.planning:
        return await asyncio.to_thread(_drift, visit, form)


def _proposal(tx: Transaction, plan: str) -> Proposal | None:
    return next((found for found in following.proposals(tx) if found.name == plan), None)


def _no_plan(name: str) -> ApiFault:
    return ApiFault(404, f"no plan {name} waits", "see: reconcile status, or GET …/plans")


def _plan(visit: Visit, body: PlanBody) -> ShownPlan:
    place = visit.controller.engine.place
    options = options_of(body.targets, body.excludes, body.removals_max, retry_failed=body.retry_failed)
    live, source = visit.controller.engine.store.read_now(live_and_source)
    loaded = load_head(visit, live, source, body.commit)
    options, rules = replace(options, followed=True), visit.controller.running.secret_rules
    planned = plan_space(loaded, live, options, check=check_for(place, source), secret_rules=rules)
    return shown(planned.plan, body.form, saved(planned, options, loaded.tree.read) if body.save else "")


def _drift(visit: Visit, form: Form) -> ShownPlan:
    place = visit.controller.engine.place
    live, source = visit.controller.engine.store.read_now(live_and_source)
    loaded = load_applied(place, live, source)
    if loaded.desired is None:
        raise faulty(loaded)
    return shown(drift(place, loaded, live, source), form)


def live_and_source(tx: Transaction) -> tuple[LiveState, SourceState | None]:
    """Read what a plan is judged by, and what is followed."""
    return objects.live_state(tx), following.source(tx)


def load_head(visit: Visit, live: LiveState, source: SourceState | None, commit: str | None = None) -> Loaded:
    """Read a commit that the source has, by its name, or the head; raises Conflict, Invalid, and 404 for no commit.

    What is not signed as it has to be is not read.
    """
    head = commit or (source.head if source is not None else "")
    if not head:
        raise Conflict("no commit of the source was read yet", "`reconcile status` shows how things stand")
    place = visit.controller.engine.place
    if head.startswith(TREE):
        loaded = load(place.root, live_paths=files_of(live))
    else:
        named = whole_name(repositories(place), head)
        if named is None:
            raise ApiFault(
                404,
                f"the server has no commit {head}",
                "what is on another branch is planned in a checkout, by a snapshot: reconcile plan --snapshot; "
                "of what came before the server's first fetch it has nothing",
            )
        _check_signed(visit, named, live)
        loaded = load_commit(place, named, live, source)
    if loaded.desired is None:
        raise faulty(loaded)
    return loaded


def _check_signed(visit: Visit, commit: str, live: LiveState) -> None:
    """Raise Invalid for a commit that was found unsigned, or was not judged yet and is, or builds on one that is."""
    judged = visit.controller.engine.store.read_now(lambda tx: following.commit(tx, commit))
    if judged is not None and judged.verdict is Verdict.UNSIGNED:
        raise Invalid(judged.reason)
    if judged is None or judged.verdict is Verdict.FAILED:
        try:
            visit.controller.source.signer(commit)
            visit.controller.source.check_since(live.revision, commit)
        except Unsigned as error:
            raise Invalid(error.message, error.hint) from error
        except FetchFailed as error:
            raise Conflict(error.message, error.hint) from error
