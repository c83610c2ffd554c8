"""What will come of a plan's runs: which steps they have, and what stands in the way of each."""

from typing import TypedDict

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step
from reconciler.plan.changes import Run
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.placement import Nowhere, PoolChoice, needs_of, place
from reconciler.schedule.requests import Needs
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext


class Outlook(TypedDict):
    """What is known of a run before it starts."""

    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    refusal: str


class Judge:
    """Looks ahead at each run of one desired state."""

    def __init__(self, desired: DesiredState, live: LiveState) -> None:
        self._objects = desired.objects
        self._obstacles: dict[Needs, Nowhere | None] = {}  # steps with equal needs meet the same ones
        self._whereabouts = Whereabouts.of(desired.objects, desired.space, live.workers, live.overrides)

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
        slot = run.slot
        context = VariableContext(slot.environment, slot.tenant, tags, step.key, slot.project)
        choice = self._whereabouts.choice(step, project, context)
        if not isinstance(choice, PoolChoice):
            return choice.reason if isinstance(choice, Nowhere) else choice
        needs = needs_of(step, choice.pool, slot.environment, choice.requires)
        if needs not in self._obstacles:
            found = place(step, choice, self._whereabouts.fleet, slot.environment)
            self._obstacles[needs] = found if isinstance(found, Nowhere) else None
        return self._obstacles[needs]
