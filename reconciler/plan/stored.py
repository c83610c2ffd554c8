"""What is declared and only stored so far: `plan` says so in words, so that nothing is silently left undone."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.desired import Declared, DesiredState
from reconciler.plan.changes import Action, Change

STORED: Mapping[str, str] = {
    "MachinePolicy": "stored; health checks and updates are not carried out yet",
    "DeploymentTarget": "stored; steps on targets are not carried out yet",
    "PackageFeed": "stored; packages are not acquired yet",
    "Account": "stored; of what is carried out today only proxies use accounts",
    "Certificate": "stored; nothing that is carried out today uses it",
    "Runbook": "stored; runbooks are not run yet",
    "RunbookRun": "stored; runbooks are not run yet",
    "Schedule": "stored; runbooks are not run yet",
}
"""Kinds whose objects are validated, planned and stored, and not carried out further."""

STEP_FIELDS: Mapping[str, str] = {
    "packages": "packages are not acquired yet",
    "guidedFailure": "guided failure is not carried out yet",
}


def notes(desired: DesiredState, changes: Iterable[Change]) -> Iterator[str]:
    """Yield in words what of the changes is stored only, a line for each kind or field."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for change in changes:
        if change.action is not Action.REMOVE:
            for words in _stored_only(desired.objects[change.address]):
                counts[words] += 1
                names.setdefault(words, str(change.address))
    for words in sorted(counts):
        more = counts[words] - 1
        yield f"{names[words]}{f' and {more} more' if more else ''}: {words}"


def _stored_only(declared: Declared) -> Iterator[str]:
    kind = declared.address.kind
    if kind in STORED:
        yield STORED[kind]
    if kind == "WorkerPool" and "dynamic" in json.loads(declared.spec):
        yield "stored; dynamic workers are not made yet"
    if kind == "Worker":
        spec = json.loads(declared.spec)
        if "ssh" in spec["endpoint"]:
            yield "registered; SSH machines are not reached yet, so no step runs on them"
    if kind == "Project":
        fields = {field for step in json.loads(declared.spec)["process"] for field in step}
        yield from (words for field, words in STEP_FIELDS.items() if field in fields)
