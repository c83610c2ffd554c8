"""A state with a past: tasks of several slots that ended long ago or lately, with logs, artifacts and script files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.live import (
    Attempt,
    AttemptState,
    Slot,
    StepRun,
    StepState,
    StoredArtifact,
    Task,
    TaskId,
    TaskState,
)
from reconciler.store import attempts, results, tasks
from reconciler.store.blobs import put_blob
from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory
from reconciler.store.writer import Store

NOW = 2_000_000_000.0
DAY = 86_400.0
SLOT = Slot("shop", "live")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class History:
    """Writes a past into a store and its files."""

    store: Store
    files: DataDirectory
    names: dict[TaskId, str] = field(default_factory=dict)

    def task(self, days: float, state: TaskState = TaskState.SUCCEEDED, slot: Slot = SLOT, *, script: str = "") -> Task:
        """Add a task that came into its state so many days before NOW; an attempt of one that runs has not ended."""
        at = NOW - days * DAY
        text = script or f"echo {slot} {days}"
        put_blob(self.files.blobs, digest(text.encode()), text.encode())

        def work(tx: Transaction) -> Task:
            pin = tasks.pin(tx, json.dumps({"files": {"go.sh": digest(text.encode())}}))
            task = tasks.queue(
                tx, deployment="shop", slot=slot, release="1", digest="d", pin=pin, revision="r", at=at - 2
            )
            if state is TaskState.QUEUED:
                return task
            tasks.put_steps(tx, [StepRun(task.id, 0, "go", "Go")])
            tasks.set_state(tx, task.id, TaskState.RUNNING, "", at - 1)
            tasks.set_step(tx, task.id, 0, StepState.RUNNING, reason="", at=at - 1)
            self._attempt(tx, task, at, has_ended=state.ended)
            if state.ended:
                tasks.set_step(tx, task.id, 0, StepState.SUCCEEDED, reason="", at=at)
                tasks.set_state(tx, task.id, state, "", at)
            return tasks.task(tx, task.id)

        return self.store.write_now(work)

    def _attempt(self, tx: Transaction, task: Task, at: float, *, has_ended: bool) -> None:
        ticket, printed, left = f"{task.id}-1-1-abcd", f"log of {task.id}".encode(), f"artifact of {task.id}".encode()
        attempts.grant(
            tx, [(Attempt(ticket, task.id, 0, 1, "w1", 1, AttemptState.GRANTED, "{}", granted_at=at - 1), "")]
        )
        self.log(ticket).write_bytes(printed)
        if not has_ended:
            return
        put_blob(self.files.blobs, digest(left), left)
        attempts.ended(tx, [attempts.Ended(ticket, "{}", at, log_length=len(printed), log_digest=digest(printed))])
        results.put_artifacts(tx, [StoredArtifact(task.id, "go", ticket, "left.txt", len(left), digest(left))])

    def log(self, ticket: str) -> Path:
        return self.files.logs / f"{ticket}.journal"

    def kept(self) -> dict[str, set[str]]:
        """Return what is there: tasks, logs and blobs by their names."""
        return {
            "tasks": {str(task.id) for task in self.store.read_now(lambda tx: tasks.tasks(tx, 1000))},
            "logs": {path.name.partition("-")[0] for path in self.files.logs.iterdir()},
            "blobs": {path.read_text() for path in self.files.blobs.glob("??/*")},
        }


def numbers(found: Sequence[Task]) -> list[int]:
    return [task.id for task in found]
