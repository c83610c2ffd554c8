"""What step runs leave and ask: output variables, artifacts, questions to people."""

import json
from collections.abc import Iterable

from reconciler.model.live import Intervention, OutputValue, StoredArtifact, TaskId
from reconciler.store.database import Row, Transaction
from reconciler.store.keys import Sealer

HIDDEN = "********"
_SELECT_INTERVENTIONS = (
    "SELECT task, step, instructions, teams, asked_at, decision, decided_by, decided_at, notes FROM interventions "
)
_WAITING = (
    "WHERE decision = '' AND EXISTS (SELECT 1 FROM step_runs WHERE step_runs.task = interventions.task"
    " AND position = interventions.step AND finished_at IS NULL) "
)


def put_outputs(tx: Transaction, task: TaskId, values: Iterable[OutputValue], sealer: Sealer) -> None:
    """Write output variables, each over the former of its name; sensitive ones are sealed."""
    tx.many(
        "INSERT INTO outputs (task, step, name, value, sensitive) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (task, step, name) DO UPDATE SET value = excluded.value, sensitive = excluded.sensitive",
        [(task, output.step, output.name, _written(task, output, sealer), int(output.sensitive)) for output in values],
    )


def outputs(tx: Transaction, task: TaskId, sealer: Sealer | None) -> list[OutputValue]:
    """Return the output variables of a task by step and name; without a sealer, sensitive values are hidden."""
    rows = tx.all("SELECT step, name, value, sensitive FROM outputs WHERE task = ? ORDER BY step, name", task)
    return [_output(task, row, sealer) for row in rows]


def put_artifacts(tx: Transaction, artifacts: Iterable[StoredArtifact]) -> None:
    """Write artifacts; one that is there already stays as it is."""
    tx.many(
        "INSERT INTO artifacts (ticket, name, task, step, size, digest) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (ticket, name) DO NOTHING",
        [(found.ticket, found.name, found.task, found.step, found.size, found.digest) for found in artifacts],
    )


def artifacts(tx: Transaction, task: TaskId) -> list[StoredArtifact]:
    """Return the artifacts of a task by step, attempt and name."""
    rows = tx.all(
        "SELECT task, step, ticket, name, size, digest FROM artifacts WHERE task = ? ORDER BY step, ticket, name", task
    )
    return [StoredArtifact(TaskId(number), *rest) for number, *rest in rows]


def ask(tx: Transaction, question: Intervention) -> bool:
    """Put a question to people; False, and nothing changes, where the step run asks already."""
    changed = tx.execute(
        "INSERT INTO interventions"
        " (task, step, instructions, teams, asked_at, decision, decided_by, decided_at, notes)"
        " VALUES (?, ?, ?, ?, ?, '', '', NULL, '') ON CONFLICT (task, step) DO NOTHING",
        *(question.task, question.step, question.instructions, json.dumps(question.teams), question.asked_at),
    )
    return changed == 1


def answer(tx: Transaction, task: TaskId, step: int, *, decision: str, by: str, at: float, notes: str = "") -> bool:
    """Record a person's decision, `approved` or `rejected`; False, and nothing changes, unless it is the first."""
    changed = tx.execute(
        "UPDATE interventions SET decision = ?, decided_by = ?, decided_at = ?, notes = ?"
        " WHERE task = ? AND step = ? AND decision = ''",
        *(decision, by, at, notes, task, step),
    )
    return changed == 1


def intervention(tx: Transaction, task: TaskId, step: int) -> Intervention | None:
    """Return the question of a step run, answered or not."""
    row = tx.one(_SELECT_INTERVENTIONS + "WHERE task = ? AND step = ?", task, step)
    return _intervention(row) if row else None


def open_interventions(tx: Transaction, task: TaskId | None = None) -> list[Intervention]:
    """Return the questions that wait for an answer, of one task or of all, the oldest first; no step that asks has ended."""
    if task is None:
        rows = tx.all(_SELECT_INTERVENTIONS + _WAITING + "ORDER BY asked_at, task, step")
    else:
        rows = tx.all(_SELECT_INTERVENTIONS + _WAITING + "AND task = ? ORDER BY asked_at, step", task)
    return [_intervention(row) for row in rows]


def _written(task: TaskId, output: OutputValue, sealer: Sealer) -> bytes:
    if output.sensitive:
        return sealer.seal(output.value, "output", task, output.step, output.name)
    return output.value.encode()


def _output(task: TaskId, row: Row, sealer: Sealer | None) -> OutputValue:
    step, name, value, sensitive = row
    if not sensitive:
        return OutputValue(step, name, value.decode())
    text = HIDDEN if sealer is None else sealer.unseal(value, "output", task, step, name)
    return OutputValue(step, name, text, sensitive=True)


def _intervention(row: Row) -> Intervention:
    task, step, instructions, teams, *rest = row
    return Intervention(TaskId(task), step, instructions, tuple(json.loads(teams)), *rest)
