"""`reconcile status`: what is, and what waits for whom."""

import json
import time

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import say, shown, table
from reconciler.model.following import Proposal, Suspension
from reconciler.model.live import StepState
from reconciler.plan.text import shown_revision
from reconciler.server.answers.overview import Overview, SlotRow
from reconciler.server.answers.waiting import SUSPENDED
from reconciler.server.orders.words import answering, suspended
from reconciler.server.state.times import ago, stamp


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@at_desk
def command(*, as_json: bool, desk: Desk) -> int:
    """Show what is: the space, its workers, its deployments and what waits for whom."""
    seen = desk.overview()
    if as_json:
        click.echo(json.dumps(record(seen), ensure_ascii=False, indent=1))
    else:
        _print(seen)
    return 0


def _print(seen: Overview) -> None:
    bound = f"{seen.binding.space} at {shown_revision(seen.revision)}" if seen.binding else "unbound"
    say(f"Space {bound}, state {seen.serial}")
    click.echo(", ".join(f"{count} {kind}" for kind, count in seen.counts.items()) or "nothing is applied")
    _print_source(seen)
    click.echo()
    table(
        ("WORKER", "POOLS", "ENDPOINT", "STATE"),
        ((w.name, ",".join(w.pools), w.endpoint, w.state) for w in seen.workers),
    )
    if seen.slots:
        click.echo()
        table(("DEPLOYMENT", "SLOT", "RELEASE", "TASK", "STATE", "SINCE", "REASON"), map(_slot, seen.slots))
    for row in seen.slots:
        for step in row.steps:
            if step.state in {StepState.RUNNING, StepState.WAITING}:
                say(f'  {row.deployment}: "{step.name}" {step.state} for {ago(step.since)}: {step.reason}')
    for question in seen.questions:
        click.echo()
        asked = f" {', '.join(question.teams)}" if question.teams else ""
        click.echo(shown(f"Task {question.task} asks{asked}: {question.instructions.strip()}"))
        if question.until is None or time.time() < question.until:
            say(f"  answer with: {answering(question.task, '' if question.alone else question.id)}")
        if question.until is not None:
            say(f"  without an answer by {stamp(question.until)} it fails")


def _print_source(seen: Overview) -> None:
    """Print what is followed, and how it stands; nothing where no server has followed anything yet."""
    if seen.source is not None:
        head = f" at {seen.source.head[:12]}" if seen.source.head else ""
        say(f"Follows {seen.source.ref} of {seen.source.url}{head}")
    for condition in seen.conditions:
        say(f"{condition.type} {condition.status}, {condition.reason}: {condition.message}")
    held = seen.suspension
    if held is not None and not any(condition.reason == SUSPENDED for condition in seen.conditions):
        text = suspended(held)
        say(f"{text[0].upper()}{text[1:]}")
    if not seen.engine_runs and (seen.source is not None or seen.conditions):
        say("No server runs" if seen.as_of is None else f"As of {stamp(seen.as_of)}; no server runs")
    for proposal in seen.proposals:
        if not proposal.decision:
            say(f"{proposal.name} of {proposal.revision[:12]} waits for a person: {proposal.summary}")


def _slot(row: SlotRow) -> tuple[str, ...]:
    task = row.task
    release = row.declared_release or (task.release if task else "")
    since = ago((task.finished_at or task.started_at or task.queued_at) if task else None)
    number = str(task.id) if task else ""
    return (row.deployment, str(row.slot), release, number, row.condition, since, task.reason if task else "")


def record(seen: Overview) -> dict[str, object]:
    """Return the overview as JSON."""
    return {
        "format_version": "1.0",
        "space": seen.binding.space if seen.binding else None,
        "revision": seen.revision,
        "serial": seen.serial,
        "engine_runs": seen.engine_runs,
        "as_of": stamp(seen.as_of) if seen.as_of is not None else None,
        "suspension": _suspension_record(seen.suspension),
        "objects": seen.counts,
        "source": _source_record(seen),
        "conditions": [
            {
                "type": condition.type.value,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "revision": condition.revision,
                "since": stamp(condition.since),
            }
            for condition in seen.conditions
        ],
        "plans": list(map(_plan_record, seen.proposals)),
        "workers": [
            {"name": w.name, "pools": list(w.pools), "endpoint": w.endpoint, "state": w.state} for w in seen.workers
        ],
        "deployments": [_slot_record(row) for row in seen.slots],
        "questions": [
            {
                "task": q.task,
                "step": q.step + 1,
                "id": q.id,
                "name": q.name,
                "instructions": q.instructions,
                "teams": list(q.teams),
                "since": stamp(q.asked_at),
                "until": stamp(q.until) if q.until is not None else None,
            }
            for q in seen.questions
        ],
    }


def _plan_record(proposal: Proposal) -> dict[str, object]:
    return {
        "name": proposal.name,
        "revision": proposal.revision,
        "why": proposal.why.value,
        "summary": proposal.summary,
        "decision": proposal.decision or None,
        "by": proposal.decided_by or None,
    }


def _suspension_record(held: Suspension | None) -> dict[str, object] | None:
    if held is None:
        return None
    return {"by": held.by, "reason": held.reason, "since": stamp(held.since), "until": stamp(held.until)}


def _source_record(seen: Overview) -> dict[str, object] | None:
    source = seen.source
    if source is None:
        return None
    return {
        "url": source.url,
        "ref": source.ref,
        "head": source.head or None,
        "looked_at": stamp(source.looked_at),
        "failed_since": stamp(source.failed_since) if source.failed_since is not None else None,
        "problem": source.problem,
    }


def _slot_record(row: SlotRow) -> dict[str, object]:
    task = row.task
    return {
        "deployment": row.deployment,
        "project": row.slot.project,
        "environment": row.slot.environment,
        "tenant": row.slot.tenant,
        "declared_release": row.declared_release,
        "release": task.release if task else None,
        "task": task.id if task else None,
        "state": task.state.value if task else None,
        "reason": task.reason if task else "",
        "current": row.current,
        "adopted": bool(task and task.adopted),
        "process_changed": "process" in row.moved,
        "variables_changed": "variables" in row.moved,
        "steps": [
            {"step": step.index + 1, "name": step.name, "state": step.state.value, "reason": step.reason}
            for step in row.steps
        ],
    }
