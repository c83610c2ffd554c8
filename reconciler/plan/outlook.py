"""What will come of a plan's runs: which steps they have, and what stands in the way of each."""

from collections.abc import Callable
from typing import TypedDict

from reconciler.model.desired import DesiredState
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import LiveState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step
from reconciler.plan.changes import Run
from reconciler.schedule.fleet import fleet_of
from reconciler.schedule.placement import Nowhere, choose_pool, location_of, not_yet, place
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext, pool_in_context


class Outlook(TypedDict):
    """What is known of a run before it starts."""

    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    refusal: str


class Judge:
    """Looks ahead at each run of one desired state."""

    def __init__(self, desired: DesiredState, live: LiveState) -> None:
        self._objects = desired.objects
        self._fleet = fleet_of(desired.objects, desired.space, live.workers)
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
                    warnings.append(f'the step "{step.name}" will wait, and fail if that stays so: {reason}')
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
