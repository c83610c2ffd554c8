"""Where the steps of a state would run: the pool of each, of the fleet as it is declared and was last seen."""

from collections.abc import Mapping
from typing import Self

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Override, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.schedule.fleet import Described, Fleet, fleet_of
from reconciler.schedule.placement import Nowhere, PoolChoice, choose_pool, location_of, not_yet
from reconciler.schedule.variables import VariableContext, pool_in_context


class Whereabouts:
    """Knows a fleet, and the execution locations of one state, desired or live."""

    def __init__(self, objects: Mapping[Address, Described], fleet: Fleet) -> None:
        self._objects = objects
        self.fleet = fleet
        self._locations = {
            address.name: ExecutionLocationSpec.parse(found.spec)
            for address, found in objects.items()
            if address.kind == "ExecutionLocation"
        }

    @classmethod
    def of(
        cls,
        objects: Mapping[Address, Described],
        space: SpaceSpec,
        seen: Mapping[str, WorkerStatus],
        overrides: Mapping[str, Override] | None = None,
    ) -> Self:
        """Gather the fleet of a state, desired or live, as it was last seen."""
        return cls(objects, fleet_of(objects, space, seen, overrides))

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
