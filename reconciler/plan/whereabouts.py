"""Where the steps of a state would run: the pool of each, of the fleet as it is declared and was last seen."""

from collections.abc import Mapping

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Override, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.schedule.fleet import Described, fleet_of
from reconciler.schedule.placement import Nowhere, PoolChoice, choose_pool, location_of, not_yet
from reconciler.schedule.variables import VariableContext, pool_in_context


class Whereabouts:
    """Knows the fleet and the execution locations of one state, desired or live."""

    def __init__(
        self,
        objects: Mapping[Address, Described],
        space: SpaceSpec,
        seen: Mapping[str, WorkerStatus],
        overrides: Mapping[str, Override] | None = None,
    ) -> None:
        self._objects = objects
        self.fleet = fleet_of(objects, space, seen, overrides)
        self._locations = {
            address.name: ExecutionLocationSpec.parse(found.spec)
            for address, found in objects.items()
            if address.kind == "ExecutionLocation"
        }

    def choice(self, step: Step, project: ProjectSpec, context: VariableContext) -> PoolChoice | Nowhere | str:
        """Return the pool of a step that runs on a worker, or in words what of it is not carried out yet."""
        missing = not_yet(step, self.location(step))
        if missing:
            return missing
        return choose_pool(
            self.location(step), self.fleet, lambda name: pool_in_context(name, project, self._objects, context)
        )

    def location(self, step: Step) -> ExecutionLocationSpec:
        """Return the location of a step, named or inline."""
        return location_of(step, self._locations)
