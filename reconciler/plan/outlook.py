"""What will come of a plan's runs: which steps they have, and what stands in the way of each."""

from dataclasses import dataclass, replace
from typing import TypedDict

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step
from reconciler.plan.changes import LiveFact, Run
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.fleet import Expected, as_seen, declared_fleet, seen_as
from reconciler.schedule.formers import formers_of
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
    """Looks ahead at each run of one desired state: by what is declared, and apart from that by what is seen just now."""

    def __init__(self, desired: DesiredState, live: LiveState) -> None:
        self._objects = desired.objects
        self._obstacles: dict[Needs, _Obstacles] = {}  # steps with equal needs meet the same ones
        fleet = declared_fleet(desired.objects, desired.space)
        self._declared = Whereabouts(desired.objects, replace(fleet, workers=Expected(fleet.workers)))
        seen = seen_as(live.workers, formers_of(desired.objects, live.leaving, live.occupants))
        self._seen = as_seen(fleet, seen, live.overrides)

    def of(self, run: Run) -> tuple[Outlook, list[LiveFact]]:
        """Return what is known of a run by what is declared, and what its steps would wait for just now beside that."""
        project, tags, steps = self._steps(run)
        warnings, refusal, facts = [], "", []
        for step in steps:
            match self._obstacle(step, project, run, tags):
                case _Obstacles(declared=Nowhere(reason, final=True)):
                    refusal = refusal or f'nothing can run the step "{step.name}": {reason}'
                case _Obstacles(declared=Nowhere(reason)):
                    warnings.append(_waits(step, reason))
                case _Obstacles(seen=Nowhere(reason)):
                    facts.append(LiveFact(f"{run.title}: {_waits(step, reason)}"))
                case str(reason):
                    warnings.append(f'the task will fail before its first step: "{step.name}": {reason}')
        return Outlook(steps=tuple(step.name for step in steps), warnings=tuple(warnings), refusal=refusal), facts

    def _steps(self, run: Run) -> tuple[ProjectSpec, tuple[str, ...], list[Step]]:
        """Return a run's project, its tenant's tags, and the steps that it does not leave out."""
        project = ProjectSpec.parse(self._objects[Address("Project", run.slot.project)].spec)
        deployment = DeploymentSpec.parse(self._objects[Address("Deployment", run.deployment)].spec)
        tags = self._tags(run.slot.tenant)
        steps = [
            step
            for step in project.process
            if leaves_out(step, run.slot.environment, tags, deployment.skip_steps) is None
        ]
        return project, tags, steps

    def _tags(self, tenant: str | None) -> tuple[str, ...]:
        if tenant is None:
            return ()
        return TenantSpec.parse(self._objects[Address("Tenant", tenant)].spec).tags

    def _obstacle(self, step: Step, project: ProjectSpec, run: Run, tags: tuple[str, ...]) -> "_Obstacles | str":
        if step.action[0] == "manual":
            return _Obstacles()
        slot = run.slot
        context = VariableContext(slot.environment, slot.tenant, tags, step.key, slot.project)
        choice = self._declared.choice(step, project, context)
        if not isinstance(choice, PoolChoice):
            return choice.reason if isinstance(choice, Nowhere) else choice
        needs = needs_of(step, choice.pool, slot.environment, choice.requires)
        if needs not in self._obstacles:
            found = [place(step, choice, fleet, slot.environment) for fleet in (self._declared.fleet, self._seen)]
            self._obstacles[needs] = _Obstacles(*(each if isinstance(each, Nowhere) else None for each in found))
        return self._obstacles[needs]


@dataclass(frozen=True, slots=True)
class _Obstacles:
    """Why nobody takes a step: by what is declared, and by what is seen."""

    declared: Nowhere | None = None
    seen: Nowhere | None = None


def _waits(step: Step, reason: str) -> str:
    return f'the step "{step.name}" will wait, and fail if that stays so: {reason}'
