"""A plan as JSON records, one a line, for policy tools and scripts."""

from collections.abc import Iterator

from pydantic import JsonValue

from reconciler.plan.changes import Absent, Action, Change, FieldChange, Plan, Refusal, Run

FORMAT_VERSION = "1.0"
"""Rises in its second part when fields are added, in its first when any changes its meaning."""


def records(plan: Plan) -> Iterator[dict[str, JsonValue]]:
    """Yield the version record, then a record for each change, run, refusal, warning and note, then the summary.

    What moves by itself follows the summary.
    """
    yield {"type": "version", "format_version": FORMAT_VERSION}
    lasting = plan.lasting
    for change in lasting.changes:
        yield change_record(change)
    for run in lasting.runs:
        yield run_record(run)
    for refusal in lasting.refusals:
        yield _refusal(refusal)
    for kind, texts in (("warning", lasting.warnings), ("note", lasting.notes)):
        for text in texts:
            yield {"type": kind, "message": text}
    yield _summary(lasting)
    for text in plan.failed:
        yield {"type": "failed", "message": text}
    for refusal in plan.passing:
        yield _refusal(refusal)
    for fact in plan.facts:
        yield {"type": "live", "message": fact.text}


def _refusal(refusal: Refusal) -> dict[str, JsonValue]:
    return {"type": "refusal", "code": refusal.code, "message": refusal.message, "help": refusal.help}


def _summary(plan: Plan) -> dict[str, JsonValue]:
    return {
        "type": "summary",
        "space": plan.space,
        "revision": plan.revision,
        "serial": plan.serial,
        "digest": plan.digest,
        "add": plan.count(Action.CREATE, Action.REPLACE),
        "change": plan.count(Action.UPDATE, Action.RENAME),
        "remove": plan.count(Action.REMOVE, Action.REPLACE),
        "runs": len(plan.runs),
        "refused": plan.refused,
        "empty": plan.empty,
    }


def change_record(change: Change) -> dict[str, JsonValue]:
    """Return the record of one change."""
    record: dict[str, JsonValue] = {
        "type": "change",
        "address": str(change.address),
        "kind": change.address.kind,
        "name": change.address.name,
        "action": change.action.value,
        "because": change.because,
        "fields": [_field(field) for field in change.fields],
        "consequences": list(change.consequences),
    }
    if change.position is not None:
        record |= {"file": change.position.file, "line": change.position.line}
    if change.former is not None:
        record["former"] = str(change.former)
    if change.refusal:
        record["refusal"] = change.refusal
    return record


def _field(field: FieldChange) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = {"path": field.path}
    if not isinstance(field.before, Absent):
        record["before"] = field.before
    if not isinstance(field.after, Absent):
        record["after"] = field.after
    return record


def run_record(run: Run) -> dict[str, JsonValue]:
    """Return the record of one run."""
    return {
        "type": "run",
        "deployment": run.deployment,
        "project": run.slot.project,
        "environment": run.slot.environment,
        "tenant": run.slot.tenant,
        "release": run.release,
        "former_release": run.former_release,
        "digest": run.digest,
        "reason": run.reason.value,
        "because": run.because,
        "after": list(run.after),
        "steps": list(run.steps),
        "warnings": list(run.warnings),
        "refusal": run.refusal or None,
        "file": run.position.file,
        "line": run.position.line,
    }
