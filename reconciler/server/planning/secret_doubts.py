"""Secrets that a server's configuration does not let it have: known when it plans what would fail of it."""

from collections.abc import Collection, Iterator

from reconciler.execute.preparation import texts_of
from reconciler.execute.secrets import SecretRules, forbidden
from reconciler.model.desired import DesiredState
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address
from reconciler.model.variables import SecretSource
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step, StepTemplateSpec
from reconciler.plan.changes import Run
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import Sourced, VariableContext, choose_all, visible
from reconciler.steps.errors import StepError
from reconciler.steps.expansion import expand
from reconciler.steps.scope import sources_needed


def doubts(runs: Collection[Run], desired: DesiredState, rules: SecretRules) -> Iterator[str]:
    """Yield a sentence for each secret of a run that the rules forbid; nothing is looked at, and no secret resolved."""
    objects = desired.objects
    templates = {
        address.name: StepTemplateSpec.parse(found.spec)
        for address, found in objects.items()
        if address.kind == "StepTemplate"
    }
    for run in runs:
        if run.refusal:
            continue
        slot = run.slot
        project = ProjectSpec.parse(objects[Address("Project", slot.project)].spec)
        deployment = DeploymentSpec.parse(objects[Address("Deployment", run.deployment)].spec)
        tenant = TenantSpec.parse(objects[Address("Tenant", slot.tenant)].spec) if slot.tenant else None
        sets = {
            name: VariableSetSpec.parse(objects[Address("VariableSet", name)].spec) for name in project.variable_sets
        }
        variables = visible(
            *(slot.project, project, sets, (slot.tenant, tenant) if slot.tenant and tenant else None),
            (run.deployment, deployment.variables),
        )
        if not _any_secret(variables):
            continue
        tags = tenant.tags if tenant else ()
        for step in project.process:
            if leaves_out(step, slot.environment, tags, deployment.skip_steps) is None:
                context = VariableContext(slot.environment, slot.tenant, tags, step.key, slot.project)
                for sentence in _of_step(step, templates, variables, context, rules):
                    yield f'{run.title}: the step "{step.name}" will fail: {sentence}'


def _any_secret(variables: Collection[Sourced]) -> bool:
    return any(isinstance(scoped.value, SecretSource) for one in variables for scoped in one.variable.scoped())


def _of_step(
    step: Step,
    templates: dict[str, StepTemplateSpec],
    variables: Collection[Sourced],
    context: VariableContext,
    rules: SecretRules,
) -> Iterator[str]:
    try:
        expanded = expand(step, templates)
    except StepError:
        return  # it fails of something else
    for name, source in sources_needed(texts_of(expanded, templates), choose_all(variables, context)).items():
        if sentence := forbidden(name, source, rules):
            yield sentence
