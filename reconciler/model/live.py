"""What the system has seen and done: live objects, tasks, step runs, attempts, events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NewType

from reconciler.model.spec import Address, Position

TaskId = NewType("TaskId", int)
"""Numbers tasks from 1 in the order of their queueing."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """An object as it was last applied; `spec` and `metadata` are canonical JSON, `digest` covers both."""

    address: Address
    spec: str
    metadata: str
    digest: str
    position: Position
    revision: str
    generation: int = 1
    protected: bool = False


class TaskState(StrEnum):
    """Where a task is; the last five are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_INTERVENTION = "awaitingIntervention"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timedOut"
    ABANDONED = "abandoned"

    @property
    def ended(self) -> bool:
        """Has the task come to its end?"""
        return self in _TASK_ENDS


_TASK_ENDS = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.TIMED_OUT, TaskState.ABANDONED}
)


class StepState(StrEnum):
    """Where a step run is; the last five are ends."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Has the step run come to its end?"""
        return self in _STEP_ENDS


_STEP_ENDS = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.LOST, StepState.SKIPPED, StepState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Slot:
    """Project + environment + tenant (or none): at most one declared deployment, at most one running task."""

    project: str
    environment: str
    tenant: str | None = None

    def __str__(self) -> str:
        tenant = f" for {self.tenant}" if self.tenant else ""
        return f"{self.project} in {self.environment}{tenant}"


@dataclass(frozen=True, slots=True)
class Task:
    """One run of a process; times are seconds since the epoch.

    `pin` is the digest of all that the task pinned, `process` that of its process alone and `variables` that of the
    values that its slot sees, to be compared with others.
    """

    id: TaskId
    deployment: str
    slot: Slot
    release: str
    digest: str
    pin: str
    revision: str
    state: TaskState
    priority: int = 0
    reason: str = ""
    cancel_by: str = ""
    process: str = ""
    variables: str = ""
    adopted: bool = False
    queued_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def title(self) -> str:
        """The deployment's name, and with a tenant `name@tenant`: what people call the task by."""
        return f"{self.deployment}@{self.slot.tenant}" if self.slot.tenant else self.deployment


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of one task; `index` is its place in the process, `key` its id."""

    task: TaskId
    index: int
    key: str
    name: str
    state: StepState = StepState.PENDING
    reason: str = ""
    since: float | None = None
    started_at: float | None = None
    finished_at: float | None = None


class AttemptState(StrEnum):
    """Where an attempt is, seen from the server."""

    GRANTED = "granted"
    RUNNING = "running"
    LOST = "lost"
    """Given up after the worker was silent for too long; its end may still be recorded."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step run under its ticket; `ending` is JSON once it has ended."""

    ticket: str
    task: TaskId
    step: int
    number: int
    worker: str
    token: int
    state: AttemptState
    spec: str
    decision: str = ""
    ending: str = ""
    granted_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    log_length: int = 0
    log_digest: str = ""

    @property
    def log_is_removed(self) -> bool:
        """Is what it printed kept no longer? While it is kept, an attempt that has ended has the digest of it."""
        return self.finished_at is not None and not self.log_digest


@dataclass(frozen=True, slots=True)
class OutputValue:
    """An output variable of a step run."""

    step: str
    name: str
    value: str
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A file that a step run left, kept under its digest."""

    task: TaskId
    step: str
    ticket: str
    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Intervention:
    """A question to a person; unanswered while `decision` is empty, else `approved` or `rejected`."""

    task: TaskId
    step: int
    instructions: str
    teams: tuple[str, ...] = ()
    asked_at: float = 0.0
    decision: str = ""
    decided_by: str = ""
    decided_at: float | None = None
    notes: str = ""


class ActorKind(StrEnum):
    """Who can act."""

    PERSON = "person"
    TOKEN = "token"  # noqa: S105 - the word for its bearer
    """Whoever bears a token of the API."""
    AGENT = "agent"
    CONTROLLER = "controller"
    """The server that carries out commits."""
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit: who did what to which thing, under which revision, and how it ended.

    `origin` is from where, as the program itself has seen it; `plan` is the digest of the plan that it belongs to;
    `before` and `after` are what was changed, each a JSON object in canonical form or nothing; `space` is filled in
    when it is recorded.
    """

    at: float
    actor: str
    action: str
    subject: str
    outcome: str = "done"
    revision: str = ""
    detail: str = ""
    id: int = 0
    kind: str = ActorKind.ENGINE
    origin: str = ""
    space: str = ""
    plan: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """Which space of which source a state belongs to; `root` is the repository's first commit, if any."""

    space: str
    root: str
    path: str


class WorkerHealth(StrEnum):
    """How a worker was found."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker's agent as it greeted us; `address` is where from, `store` and `incarnation` are those of its HELLO."""

    at: float
    address: str
    release: str
    boot: str
    store: str
    incarnation: int
    capabilities: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How a worker is since when and why, and as what it was last seen; None where it never was."""

    worker: str
    health: WorkerHealth
    since: float
    reason: str = ""
    seen: SeenWorker | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """A worker that a person drains whatever Git declares: who, why, since and until when (seconds since the epoch)."""

    worker: str
    by: str
    reason: str
    since: float
    until: float

    @property
    def words(self) -> str:
        """Say who drains the worker, until when and why, as words that follow "draining"."""
        until = datetime.fromtimestamp(self.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"by order of {self.by} until {until}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Drain:
    """A worker that drains: since when, since when nothing lives there, since when its deadline has passed."""

    worker: str
    since: float
    drained_at: float | None = None
    overdue_at: float | None = None


@dataclass(frozen=True, slots=True)
class Occupant:
    """An attempt that has not ended, and what it belongs to; it may be lost. `step` is the key of its step."""

    ticket: str
    task: TaskId
    deployment: str
    granted_at: float
    step: str


@dataclass(frozen=True, slots=True)
class LiveState:
    """All that a plan is judged by, at one `serial`."""

    objects: Mapping[Address, LiveObject]
    last_tasks: dict[Slot, Task]
    serial: int = 0
    binding: Binding | None = None
    revision: str = ""
    at: float = field(default=0.0, compare=False)
    """When it was read, in seconds since the epoch."""
    workers: dict[str, WorkerStatus] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    drains: dict[str, Drain] = field(default_factory=dict)
    occupants: dict[str, tuple[Occupant, ...]] = field(default_factory=dict)
    leaving: dict[str, str] = field(default_factory=dict)
    """Specs, in canonical JSON, of workers that left Git while something lives on them."""
    overtaken: tuple[Task, ...] = ()
    """Tasks that have not ended, and are not the last ones of their slots."""
    settled: dict[TaskId, frozenset[str]] = field(default_factory=dict)
    """The keys of the steps that ask for no worker any more, since they run or have ended, of each task that has not."""
