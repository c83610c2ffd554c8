"""What people decide about tasks: approve, reject, cancel, retry; each one transaction with its line in the audit."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from reconciler.execute.records import cancelled_by
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Event, Slot, StepRun, Task, TaskId, TaskState
from reconciler.model.spec import canonical_json
from reconciler.plan.deployments import UNSUCCESSFUL
from reconciler.server.orders.questions import question_of
from reconciler.server.orders.words import one_line
from reconciler.server.state.origins import kind_of
from reconciler.store import audit, results, tasks
from reconciler.store.database import Transaction

NUMBERS_END = 2**63
"""Past the greatest number of a row."""

ANSWERS = ("approve", "reject")
"""The verbs of decisions that answer a question."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: `verb` is approve, reject, cancel or retry; `task` is a number or a deployment's name.

    `step` is the name or id of the step whose question is answered; "" is the only one that asks.
    """

    verb: str
    task: str
    actor: str
    notes: str = ""
    step: str = ""


def decision_to(decision: Decision) -> Mapping[str, str]:
    """Return a decision as JSON."""
    return asdict(decision)


def decision_from(value: Mapping[str, object]) -> Decision:
    """Read a decision from JSON; raises KeyError or TypeError where it is none."""
    verb, task, actor, notes = (str(value[field]) for field in ("verb", "task", "actor", "notes"))
    return Decision(verb, task, actor, notes, str(value.get("step", "")))


def carry_out_decision(tx: Transaction, decision: Decision, origin: str = "") -> str:
    """Write a decision that comes from `origin`, and return the sentence for the person.

    Raises UsageMistake or Conflict.
    """
    task, decision = find_task(tx, decision.task), replace(decision, notes=one_line(decision.notes))
    run = question_of(tx, task, decision.step).run if decision.verb in ANSWERS else None
    before = _state(tx, task, run)
    match decision.verb:
        case "approve" | "reject":
            assert run is not None, "one of these answers"
            message = _answer(tx, task, decision, run)
        case "cancel":
            message = _cancel(tx, task, decision)
        case "retry":
            message = _retry(tx, task)
        case verb:
            raise UsageMistake(f'there is no decision "{verb}"')
    event = Event(time.time(), decision.actor, decision.verb, f"task/{task.id}", "done", task.revision, decision.notes)
    after = _state(tx, tasks.task(tx, task.id), run)
    audit.record(tx, replace(event, kind=kind_of(origin), origin=origin, before=before, after=after))
    return message


def _state(tx: Transaction, task: Task, asking: StepRun | None) -> str:
    """Return what a decision can change of a task itself, and the answer to what a step asks, for the audit."""
    held: dict[str, object] = {"cancelBy": task.cancel_by, "state": task.state.value}
    if asking is not None:
        question = results.intervention(tx, task.id, asking.index)
        held["answers"] = {asking.key: question.decision if question is not None else ""}
    return canonical_json(held)


def find_task(tx: Transaction, name: str) -> Task:
    """Find a task by its number, or the last one of a deployment by its name, or by `name@tenant`."""
    if name.isascii() and name.isdecimal():
        return tasks.task(tx, _number(name))
    deployment, _, tenant = name.partition("@")
    found = [
        task
        for slot, task in tasks.last_tasks(tx).items()
        if task.deployment == deployment and (not tenant or slot.tenant == tenant)
    ]
    if not found:
        raise UsageMistake(f'there is no task of a deployment "{name}"', "`reconcile tasks` lists them")
    if len(found) > 1:
        choices = ", ".join(f"{deployment}@{task.slot.tenant}" for task in found)
        raise UsageMistake(f"{deployment} has a task for each tenant", f"name one of: {choices}")
    return found[0]


def _number(name: str) -> TaskId:
    """Return the number that ASCII digits write; raises UsageMistake where no database counts so far."""
    if len(name) > len(str(NUMBERS_END)) or int(name) >= NUMBERS_END:
        raise UsageMistake(f"there is no task {name}", "`reconcile tasks` lists them")
    return TaskId(int(name))


def _answer(tx: Transaction, task: Task, decision: Decision, run: StepRun) -> str:
    word = "approved" if decision.verb == "approve" else "rejected"
    results.answer(tx, task.id, run.index, decision=word, by=decision.actor, at=time.time(), notes=decision.notes)
    return f'{word} "{run.name}" of task {task.id} ({task.deployment})'


def _cancel(tx: Transaction, task: Task, decision: Decision) -> str:
    if task.state.ended:
        raise Conflict(f"task {task.id} has ended already: it is {task.state}")
    if task.state is TaskState.QUEUED:
        tasks.set_state(tx, task.id, TaskState.CANCELLED, cancelled_by(decision.actor, decision.notes), time.time())
        return f"cancelled task {task.id} ({task.deployment}), which had not started"
    if not tasks.request_cancel(tx, task.id, decision.actor):
        return f"task {task.id} ({task.deployment}) is being cancelled already"
    return f"task {task.id} ({task.deployment}) is being cancelled; what runs is stopped by the engine"


def _retry(tx: Transaction, task: Task) -> str:
    """Queue a task again with what it pinned; only the last one of its slot, and only if it did not succeed."""
    last = tasks.last_task(tx, Slot(task.slot.project, task.slot.environment, task.slot.tenant))
    if last is None or last.id != task.id:
        raise Conflict(
            f"task {task.id} is not the last one of {task.slot}", "retry the last one, or edit the deployment"
        )
    if task.state not in UNSUCCESSFUL:
        raise Conflict(f"task {task.id} is {task.state}; only a task that did not succeed is retried")
    again = tasks.queue(
        tx,
        deployment=task.deployment,
        slot=task.slot,
        release=task.release,
        digest=task.digest,
        pin=task.pin,
        process=task.process,
        variables=task.variables,
        revision=task.revision,
        at=time.time(),
        priority=task.priority,
        reason=f"retries task {task.id}",
    )
    return f"queued task {again.id} ({task.deployment}), which repeats task {task.id} with the same process"
