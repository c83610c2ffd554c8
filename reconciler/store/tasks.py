"""Tasks, what they pin, and their step runs; what has ended never changes again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.errors import UsageMistake
from reconciler.model.live import Slot, StepRun, StepState, Task, TaskId, TaskState
from reconciler.model.spec import digest_of
from reconciler.store.counters import next_number
from reconciler.store.database import Row, Transaction

NUMBER_MAX = 2**53
"""Above the number of any task."""

_SELECT = (
    "SELECT tasks.id, deployment, tasks.project, tasks.environment, tasks.tenant, release, digest, pin, process, variables,"
    " revision, state, priority, reason, cancel_by, adopted, queued_at, started_at, finished_at FROM tasks "
)
_SELECT_STEPS = (
    "SELECT task, position, key, name, state, reason, since, started_at, finished_at FROM step_runs "  # as StepRun
)


def pin(tx: Transaction, content: str) -> str:
    """Keep `content` for ever and return its digest; the same content is kept once."""
    digest = digest_of(content)
    tx.execute("INSERT INTO pins (digest, content) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", digest, content)
    return digest


def pinned(tx: Transaction, digest: str) -> str:
    """Return what was pinned under `digest`; a task's pin is always there."""
    row = tx.one("SELECT content FROM pins WHERE digest = ?", digest)
    assert row is not None, f"nothing is pinned as {digest}"
    return str(row[0])


def queue(
    tx: Transaction,
    *,
    deployment: str,
    slot: Slot,
    release: str,
    digest: str,
    pin: str,
    revision: str,
    at: float,
    process: str = "",
    variables: str = "",
    priority: int = 0,
    reason: str = "",
    adopted: bool = False,
) -> Task:
    """Write the next task, which becomes its slot's last; an adopted one has succeeded without running.

    `pin` is the digest that the function of that name returned, `at` is in seconds since the epoch.
    """
    state = TaskState.SUCCEEDED if adopted else TaskState.QUEUED
    number = TaskId(next_number(tx, "task"))
    place = (slot.project, slot.environment, slot.tenant or "")
    ended_at = at if adopted else None
    tx.execute(
        "INSERT INTO tasks (id, deployment, project, environment, tenant, release, digest, pin, process, variables,"
        " revision, state, priority, reason, cancel_by, adopted, queued_at, started_at, finished_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, NULL, ?)",
        *(number, deployment, *place, release, digest, pin, process, variables, revision, state.value),
        *(priority, reason, int(adopted), at, ended_at),
    )
    tx.execute(
        "INSERT INTO slots (project, environment, tenant, last_task) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (project, environment, tenant) DO UPDATE SET last_task = excluded.last_task",
        *place,
        number,
    )
    return task(tx, number)


def task(tx: Transaction, number: TaskId) -> Task:
    """Return the task; raises UsageMistake where there is none."""
    row = tx.one(_SELECT + "WHERE id = ?", number)
    if row is None:
        raise UsageMistake(f"there is no task {number}", "`reconcile tasks` lists them")
    return _task(row)


def tasks(
    tx: Transaction, limit: int = 100, states: Collection[TaskState] | None = None, *, before: int | None = None
) -> list[Task]:
    """Return the newest `limit` tasks, of those in `states` and queued before one number where given, the newest first."""
    if states is not None and not states:
        return []
    chosen, values = "WHERE tasks.id < ?", [before if before is not None else NUMBER_MAX]
    if states is None:
        return [_task(row) for row in tx.all(f"{_SELECT}{chosen} ORDER BY id DESC LIMIT ?", *values, limit)]
    marks = ", ".join("?" * len(states))
    chosen = f"{chosen} AND state IN ({marks})"
    return [
        _task(row) for row in tx.all(f"{_SELECT}{chosen} ORDER BY id DESC LIMIT ?", *values, *sorted(states), limit)
    ]


def unfinished(tx: Transaction) -> list[Task]:
    """Return every task that has not ended, in the order of queueing."""
    return [_task(row) for row in tx.all(_SELECT + "WHERE finished_at IS NULL ORDER BY id")]


def last_task(tx: Transaction, slot: Slot) -> Task | None:
    """Return the task that was queued last for `slot`."""
    row = tx.one(
        _SELECT + "JOIN slots ON slots.last_task = tasks.id"
        " WHERE slots.project = ? AND slots.environment = ? AND slots.tenant = ?",
        slot.project,
        slot.environment,
        slot.tenant or "",
    )
    return _task(row) if row else None


def last_tasks(tx: Transaction) -> dict[Slot, Task]:
    """Return each slot's last queued task, in the order of queueing."""
    rows = tx.all(_SELECT + "JOIN slots ON slots.last_task = tasks.id ORDER BY tasks.id")
    return {found.slot: found for found in map(_task, rows)}


def overtaken_tasks(tx: Transaction) -> list[Task]:
    """Return the tasks that have not ended though another one of their slot was queued after them, in that order."""
    rows = tx.all(
        _SELECT + "JOIN slots ON slots.project = tasks.project AND slots.environment = tasks.environment"
        " AND slots.tenant = tasks.tenant WHERE finished_at IS NULL AND last_task <> tasks.id ORDER BY tasks.id"
    )
    return list(map(_task, rows))


def set_state(tx: Transaction, number: TaskId, state: TaskState, reason: str, at: float) -> bool:
    """Move a task on; False, and nothing changes, where it has ended.

    The first `running` sets the start, an end sets the finish; `at` is in seconds since the epoch.
    """
    started_at = at if state is TaskState.RUNNING else None
    finished_at = at if state.ended else None
    changed = tx.execute(
        "UPDATE tasks SET state = ?, reason = ?, started_at = COALESCE(started_at, ?), finished_at = ?"
        " WHERE id = ? AND finished_at IS NULL",
        *(state.value, reason, started_at, finished_at, number),
    )
    return changed == 1


def set_waiting(tx: Transaction, reasons: Mapping[TaskId, str]) -> None:
    """Say of tasks in the queue why they wait; of one that has left it meanwhile nothing changes."""
    tx.batch(
        "UPDATE tasks SET reason = column2 FROM {rows} WHERE id = column1 AND state = 'queued'",
        ("integer", "text"),
        list(reasons.items()),
    )


def request_cancel(tx: Transaction, number: TaskId, by: str) -> bool:
    """Write down that `by` wants the task cancelled; False where it has ended or somebody wanted it before.

    The state stays: whoever runs the task sees the wish and stops the work.
    """
    changed = tx.execute(
        "UPDATE tasks SET cancel_by = ? WHERE id = ? AND finished_at IS NULL AND cancel_by = ''", by, number
    )
    return changed == 1


def cancelled(tx: Transaction, numbers: Iterable[TaskId]) -> set[TaskId]:
    """Return those of `numbers` that somebody wants cancelled."""
    rows = tx.batch(
        "SELECT id FROM tasks JOIN {rows} ON id = column1 WHERE cancel_by <> ''",
        ("integer",),
        [(number,) for number in numbers],
    )
    return {TaskId(number) for (number,) in rows}


def put_steps(tx: Transaction, runs: Iterable[StepRun]) -> None:
    """Write the step runs of a task, once, when it starts."""
    tx.many(
        "INSERT INTO step_runs (task, position, key, name, state, reason, since, started_at, finished_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(run.task, run.index, run.key, run.name, run.state.value),
                *(run.reason, run.since, run.started_at, run.finished_at),
            )
            for run in runs
        ],
    )


def steps(tx: Transaction, number: TaskId) -> list[StepRun]:
    """Return the step runs of a task in the order of its process."""
    return [_step(row) for row in tx.all(_SELECT_STEPS + "WHERE task = ? ORDER BY position", number)]


def settled_steps(tx: Transaction) -> dict[TaskId, frozenset[str]]:
    """Return the keys of the steps that ask for no worker any more, of each task that has not ended.

    They have ended, or an attempt of theirs lives; one that waits for its next try asks.
    """
    rows = tx.all(
        "SELECT tasks.id, step_runs.key, step_runs.state, ticket FROM tasks JOIN step_runs ON step_runs.task = tasks.id"
        " LEFT JOIN attempts ON attempts.task = tasks.id AND attempts.step = position"
        " AND attempts.finished_at IS NULL AND lost_at IS NULL WHERE tasks.finished_at IS NULL ORDER BY tasks.id"
    )
    found: dict[TaskId, set[str]] = {}
    for number, key, state, ticket in rows:
        if StepState(state).ended or ticket is not None:
            found.setdefault(TaskId(number), set()).add(str(key))
    return {number: frozenset(keys) for number, keys in found.items()}


def step(tx: Transaction, number: TaskId, index: int) -> StepRun:
    """Return one step run of a task, which has begun."""
    row = tx.one(_SELECT_STEPS + "WHERE task = ? AND position = ?", number, index)
    assert row is not None, f"task {number} has no step {index}"
    return _step(row)


@dataclass(frozen=True, slots=True)
class StepMove:
    """The state that a step run comes into, why, and when, in seconds since the epoch."""

    task: TaskId
    index: int
    state: StepState
    reason: str
    at: float


def set_steps(tx: Transaction, moves: Sequence[StepMove]) -> dict[tuple[TaskId, int], StepRun]:
    """Move step runs on and return them, by task and index, without those that have ended: they stay as they are.

    `since` is when the state was entered, so a waiting step keeps it while its reason changes.
    """
    rows = tx.batch(
        "UPDATE step_runs SET since = CASE WHEN state = column3 THEN COALESCE(since, column5) ELSE column5 END,"
        " state = column3, reason = column4, started_at = COALESCE(started_at, column6), finished_at = column7"
        " FROM {rows} WHERE task = column1 AND position = column2 AND finished_at IS NULL"
        " RETURNING task, position, key, name, state, reason, since, started_at, finished_at",  # as StepRun
        ("integer", "integer", "text", "text", "real", "real", "real"),
        [
            (
                *(move.task, move.index, move.state.value, move.reason, move.at),
                *(move.at if move.state is StepState.RUNNING else None, move.at if move.state.ended else None),
            )
            for move in moves
        ],
    )
    moved = map(_step, rows)
    return {(run.task, run.index): run for run in moved}


def set_step(tx: Transaction, number: TaskId, index: int, state: StepState, *, reason: str, at: float) -> bool:
    """Move one step run on; False, and nothing changes, where it has ended."""
    return bool(set_steps(tx, [StepMove(number, index, state, reason, at)]))


def _task(row: Row) -> Task:
    number, deployment, project, environment, tenant, release, digest, pin_digest, process, variables, *rest = row
    revision, state, priority, reason, cancel_by, adopted, queued_at, started_at, finished_at = rest
    return Task(
        id=TaskId(number),
        deployment=deployment,
        slot=Slot(project, environment, tenant or None),
        release=release,
        digest=digest,
        pin=pin_digest,
        process=process,
        variables=variables,
        revision=revision,
        state=TaskState(state),
        priority=priority,
        reason=reason,
        cancel_by=cancel_by,
        adopted=bool(adopted),
        queued_at=queued_at,
        started_at=started_at,
        finished_at=finished_at,
    )


def _step(row: Row) -> StepRun:
    number, position, key, name, state, *rest = row
    return StepRun(TaskId(number), position, key, name, StepState(state), *rest)
