"""The pools of a task's steps as the task pins them: by its process, its locations and its variables."""

from reconciler.model.live import Task
from reconciler.model.pinned import Pinned
from reconciler.model.work import Step
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.placement import Nowhere, PoolChoice, choose_pool, location_of, not_yet
from reconciler.schedule.variables import Pool, VariableContext, pool_of, visible


class PinnedPools:
    """Chooses pools for the steps of one task; `variables` are all that its process sees."""

    def __init__(self, task: Task, pinned: Pinned) -> None:
        self._task = task
        self._pinned = pinned
        self.variables = visible(
            task.slot.project,
            pinned.project,
            pinned.variable_sets,
            (pinned.tenant_name, pinned.tenant) if pinned.tenant_name and pinned.tenant else None,
            (pinned.deployment_name, pinned.deployment.variables),
        )

    def choice(self, step: Step, fleet: Fleet) -> PoolChoice | Nowhere:
        """Return the pool of a step, or say why nobody can take it."""
        location = location_of(step, self._pinned.locations)
        missing = not_yet(step, location)
        if missing:
            return Nowhere(missing, final=True)
        return choose_pool(location, fleet, lambda name: self._pool_of(name, step))

    def context(self, step: Step) -> VariableContext:
        """Return where a step stands, as far as the scopes of variables tell places apart."""
        slot, tenant = self._task.slot, self._pinned.tenant
        return VariableContext(slot.environment, slot.tenant, tenant.tags if tenant else (), step.key, slot.project)

    def _pool_of(self, variable: str, step: Step) -> str | None:
        found = pool_of(variable, self.variables, self.context(step))
        return found.name if isinstance(found, Pool) else None
