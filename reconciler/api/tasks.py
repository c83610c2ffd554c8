"""Tasks over HTTP: what each did, what it printed, and what people decide about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, Field

from reconciler.api.faults import not_found
from reconciler.api.membership import Membership
from reconciler.api.ordering import Key, ordered
from reconciler.api.paging import LIMIT, LIMIT_MAX, Page
from reconciler.api.streams import EventStream, log_stream
from reconciler.api.visits import NAME, Visit, Visited, needs
from reconciler.model.access import Permission
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Attempt, StepRun, Task, TaskId, TaskState
from reconciler.server.answers.log_walk import Cursor, Entry, Walk, check_step, facts_of, reading
from reconciler.server.answers.reasons import outcome_of
from reconciler.server.orders.decisions import Decision, find_task
from reconciler.server.orders.orders import Answer
from reconciler.store import tasks
from reconciler.store.database import Transaction

ENTRIES = 1_000
"""Of a log in one page, some 64 KiB of output each at most; a page ends earlier where it is long."""

PAGE_CHARACTERS = 4 << 20

router = APIRouter(prefix="/spaces/{space}/tasks", tags=["tasks"])

TaskName = Annotated[str, Path(description="A number, or a deployment's name for its last task.", pattern=NAME)]
StepName = Annotated[str | None, Query(description="Only this step, by name or id.", max_length=200)]


class Verb(StrEnum):
    """What can be decided about a task."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    RETRY = "retry"


class Notes(BaseModel):
    """Why somebody decides."""

    notes: str = Field("", max_length=10_000, description="Recorded with the decision.")


class Reply(Notes):
    """Why somebody answers so, and whose question."""

    step: str = Field("", max_length=200, description="The step that asks, by name or id; needed where several do.")


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of a step: where, how it ended (nothing while it lives), and what its log is known by."""

    ticket: str
    step: int
    number: int
    worker: str
    state: str
    outcome: str
    reason: str
    because: str
    granted_at: float
    started_at: float | None
    finished_at: float | None
    log_length: int
    log_digest: str


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """A task with its steps and attempts."""

    task: Task
    steps: tuple[StepRun, ...]
    attempts: tuple[AttemptRow, ...]


class LogPage(BaseModel):
    """A part of a log; `next` is absent where the task has ended and all is told."""

    items: list[Annotated[Entry, Field(discriminator="type")]] = Field(description="What is told, in order.")
    next: str | None = Field(None, description="What `after` is for what follows.")


@router.get("", summary="List tasks", operation_id="list_tasks", openapi_extra=needs(Permission.WORKER_VIEW))
async def list_tasks(
    visit: Visited,
    state: Annotated[list[TaskState] | None, Query(description="Only tasks in these states.")] = None,
    after: Annotated[int | None, Query(description="Only tasks older than this number.", ge=1, lt=2**53)] = None,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=LIMIT_MAX)] = LIMIT,
) -> Page[Task]:
    """List tasks, the newest first."""
    found = await visit.read(lambda tx: tasks.tasks(tx, limit + 1, state, before=after))
    return Page(items=found[:limit], next=str(found[limit - 1].id) if len(found) > limit else None)


@router.get("/{task}", summary="Show a task", operation_id="get_task", openapi_extra=needs(Permission.WORKER_VIEW))
async def get_task(visit: Visited, task: TaskName) -> TaskDetail:
    """Show a task with its steps and attempts."""
    number = await number_of(visit, task)
    facts = await visit.read(lambda tx: facts_of(tx, number))
    return TaskDetail(facts.task, facts.runs, tuple(map(_row, facts.tries)))


@router.get("/{task}/log", summary="Read a log", operation_id="get_log", openapi_extra=needs(Permission.WORKER_VIEW))
async def get_log(
    visit: Visited,
    task: TaskName,
    step: StepName = None,
    after: Annotated[str, Query(description="The `next` of the page before.", max_length=4_096)] = "",
) -> LogPage:
    """Read what the steps of a task printed, and how they ended."""
    number = await number_of(visit, task)
    facts = await visit.read(lambda tx: facts_of(tx, number))
    check_step(step, facts)
    walk = Walk(reading(visit.controller.running.logs), step, Cursor.parse(after))
    items: list[Entry] = []
    length = 0
    for entry in walk.look(facts):
        items.append(entry)
        length += sum(len(piece.text) for piece in getattr(entry, "pieces", ()))
        if length > PAGE_CHARACTERS or len(items) >= ENTRIES:
            return LogPage(items=items, next=str(walk.cursor))
    return LogPage(items=items, next=None if facts.task.state.ended else str(walk.cursor))


@router.get(
    "/{task}/log/stream",
    summary="Follow a log",
    operation_id="follow_log",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events, the last one `end`."}},
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def follow_log(
    visit: Visited,
    task: TaskName,
    step: StepName = None,
    last_event_id: Annotated[
        str, Header(description="The id of the last event that came: the stream goes on behind it.", max_length=16_384)
    ] = "",
) -> EventStream:
    """Follow what the steps of a task print, until it has ended: each event is an entry of the log."""
    cursor = Cursor.parse(last_event_id)
    number = await number_of(visit, task)
    check_step(step, await visit.read(lambda tx: facts_of(tx, number)))
    return EventStream(log_stream(visit, number, step, cursor))


@router.post(
    "/{task}/approve",
    summary="Approve",
    operation_id="approve_task",
    openapi_extra=needs(Permission.INTERVENTION_SUBMIT),
)
async def approve(visit: Visited, task: TaskName, body: Reply, key: Key = None) -> Answer:
    """Answer the question of a task with yes."""
    return await _decide(visit, Verb.APPROVE, task, body, key)


@router.post(
    "/{task}/reject", summary="Reject", operation_id="reject_task", openapi_extra=needs(Permission.INTERVENTION_SUBMIT)
)
async def reject(visit: Visited, task: TaskName, body: Reply, key: Key = None) -> Answer:
    """Answer the question of a task with no."""
    return await _decide(visit, Verb.REJECT, task, body, key)


@router.post(
    "/{task}/cancel", summary="Cancel", operation_id="cancel_task", openapi_extra=needs(Permission.DEPLOYMENT_RUN)
)
async def cancel(visit: Visited, task: TaskName, body: Notes, key: Key = None) -> Answer:
    """Stop a task and its whole process tree."""
    return await _decide(visit, Verb.CANCEL, task, body, key)


@router.post(
    "/{task}/retry", summary="Retry", operation_id="retry_task", openapi_extra=needs(Permission.DEPLOYMENT_RUN)
)
async def retry(visit: Visited, task: TaskName, body: Notes, key: Key = None) -> Answer:
    """Run a task again with what it pinned."""
    return await _decide(visit, Verb.RETRY, task, body, key)


async def _decide(visit: Visit, verb: Verb, task: str, body: Notes, key: str | None) -> Answer:
    step = body.step if isinstance(body, Reply) else ""
    member = Membership(visit.bearer, visit.service.name, task, step) if isinstance(body, Reply) else None
    try:
        return await ordered(visit, Decision(verb.value, task, visit.bearer.name, body.notes, step), key, member)
    except UsageMistake as error:
        raise not_found(error) from error


async def number_of(visit: Visit, task: str) -> TaskId:
    """Return the number of a task; raises 404 where there is none."""

    def find(tx: Transaction) -> TaskId:
        try:
            return find_task(tx, task).id
        except UsageMistake as error:
            raise not_found(error) from error

    return await visit.read(find)


def _row(attempt: Attempt) -> AttemptRow:
    outcome = outcome_of(attempt)
    return AttemptRow(
        ticket=attempt.ticket,
        step=attempt.step,
        number=attempt.number,
        worker=attempt.worker,
        state=attempt.state.value,
        outcome=outcome.state.value if outcome is not None else "",
        reason=outcome.reason if outcome is not None else "",
        because=attempt.decision,
        granted_at=attempt.granted_at,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        log_length=attempt.log_length,
        log_digest=attempt.log_digest,
    )
