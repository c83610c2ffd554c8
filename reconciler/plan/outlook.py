"""What will come of a plan: what is only stored so far, and what stands in the way of the deployments it runs."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypedDict

from reconciler.model.desired import Declared, DesiredState
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step
from reconciler.plan.changes import Action, Change, Run
from reconciler.schedule.fleet import fleet_of
from reconciler.schedule.placement import Nowhere, choose_pool, location_of, not_yet, place
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext, pool_in_context

STORED: Mapping[str, str] = {
    "Worker": "registered; agents and SSH machines are not reached yet, so no step runs on them",
    "MachinePolicy": "stored; health checks and updates are not carried out yet",
    "DeploymentTarget": "stored; steps on targets are not carried out yet",
    "PackageFeed": "stored; packages are not acquired yet",
    "Account": "stored; nothing that is carried out today uses it",
    "Certificate": "stored; nothing that is carried out today uses it",
    "Proxy": "stored; nothing is dialled yet",
    "Team": "stored; anyone who can reach the state may answer",
    "Runbook": "stored; runbooks are not run yet",
    "RunbookRun": "stored; runbooks are not run yet",
    "Schedule": "stored; runbooks are not run yet",
}
"""Kinds whose objects are validated, planned and stored, and not carried out further."""

SPACE_FIELDS: Mapping[str, str] = {
    "approval": "plans are applied by `apply`; approval by `approve PLAN` is not carried out yet",
    "drift": "drift is not watched yet",
    "taskQuota": "the task quota is not enforced yet",
}

STEP_FIELDS: Mapping[str, str] = {
    "packages": "packages are not acquired yet",
    "mutex": "mutexes are not held yet",
    "isolation": "the isolation of scripts on a machine is not enforced yet",
    "spread": "spreading is not carried out yet",
    "requires": "capabilities are not discovered yet, so needs are not matched",
    "guidedFailure": "guided failure is not carried out yet",
    "onDisconnect": "nothing can be disconnected from the built-in worker",
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
    if kind == "Space":
        spec = json.loads(declared.spec)
        yield from (words for field, words in SPACE_FIELDS.items() if field in spec)
        if spec.get("builtinWorker", {}).get("runAs"):
            yield "steps run under the engine's own account; runAs is not carried out yet"
    if kind == "Project":
        fields = {field for step in json.loads(declared.spec)["process"] for field in step}
        yield from (words for field, words in STEP_FIELDS.items() if field in fields)


class Outlook(TypedDict):
    """What is known of a run before it starts."""

    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    refusal: str


class Judge:
    """Looks ahead at each run of one desired state."""

    def __init__(self, desired: DesiredState) -> None:
        self._objects = desired.objects
        self._fleet = fleet_of(desired.objects, desired.space)
        self._locations = {
            address.name: ExecutionLocationSpec.parse(found.spec)
            for address, found in desired.objects.items()
            if address.kind == "ExecutionLocation"
        }

    def of(self, run: Run) -> Outlook:
        """Return the steps that will run, what they will stumble over, and why the run is refused, if it is."""
        project = ProjectSpec.parse(self._objects[Address("Project", run.slot.project)].spec)
        deployment = DeploymentSpec.parse(self._objects[Address("Deployment", run.deployment)].spec)
        tags = self._tags(run.slot.tenant)
        steps = [
            step
            for step in project.process
            if leaves_out(step, run.slot.environment, tags, deployment.skip_steps) is None
        ]
        warnings, refusal = [], ""
        for step in steps:
            match self._obstacle(step, project, run, tags):
                case None:
                    continue
                case Nowhere(reason, final=True):
                    refusal = refusal or f'nothing can run the step "{step.name}": {reason}'
                case Nowhere(reason):
                    warnings.append(f'the step "{step.name}" will wait and then fail: {reason}')
                case str(reason):
                    warnings.append(f'the task will fail before its first step: "{step.name}": {reason}')
        return Outlook(steps=tuple(step.name for step in steps), warnings=tuple(warnings), refusal=refusal)

    def _tags(self, tenant: str | None) -> tuple[str, ...]:
        if tenant is None:
            return ()
        return TenantSpec.parse(self._objects[Address("Tenant", tenant)].spec).tags

    def _obstacle(self, step: Step, project: ProjectSpec, run: Run, tags: tuple[str, ...]) -> Nowhere | str | None:
        if step.action[0] == "manual":
            return None
        location = location_of(step, self._locations)
        missing = not_yet(step, location)
        if missing:
            return missing
        choice = choose_pool(location, self._fleet, self._pool_of(step, project, run, tags))
        if isinstance(choice, Nowhere):
            return choice.reason
        found = place(step, choice, self._fleet, run.slot.environment)
        return found if isinstance(found, Nowhere) else None

    def _pool_of(
        self, step: Step, project: ProjectSpec, run: Run, tags: tuple[str, ...]
    ) -> Callable[[str], str | None]:
        context = VariableContext(
            environment=run.slot.environment,
            tenant=run.slot.tenant,
            tenant_tags=tags,
            step=step.key,
            process=run.slot.project,
        )
        return lambda name: pool_in_context(name, project, self._objects, context)
