"""What follows from changes, in words: pools that shrink, steps that move on or off the server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.space import SpaceSpec
from reconciler.plan.changes import Action, Change
from reconciler.schedule.fleet import Fleet, fleet_of

if TYPE_CHECKING:
    from reconciler.model.work import Step

FLEET_KINDS = frozenset({"Space", "Worker", "WorkerPool"})
"""Kinds whose changes may change which pools have how many workers, and so where steps run."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Changes with their consequences, and the warnings that belong to no single one."""

    changes: list[Change]
    warnings: list[str]


def explain(changes: list[Change], desired: DesiredState, live: LiveState) -> Explained:
    """Add consequences in words to each change of the fleet."""
    if not any(map(_moves_fleet, changes)):
        return Explained(changes, [])
    before, after = fleet_of(live.objects, _space(live)), fleet_of(desired.objects, desired.space)
    explained = [
        replace(change, consequences=tuple(_of_worker(change, before, after)))
        if change.address.kind == "Worker" and change.action is not Action.CREATE
        else change
        for change in changes
    ]
    return Explained(explained, [*_pools_below(before, after), *_server_steps(before, after, desired, live)])


def _moves_fleet(change: Change) -> bool:
    """Say whether a change may have consequences; a worker that stays in its pools has none, and most changes are such."""
    stays = change.action in {Action.UPDATE, Action.REPLACE} and all(field.path != "pools" for field in change.fields)
    return change.address.kind in FLEET_KINDS and not (change.address.kind == "Worker" and stays)


def _space(live: LiveState) -> SpaceSpec:
    found = next((item for address, item in live.objects.items() if address.kind == "Space"), None)
    return SpaceSpec.parse(found.spec) if found else SpaceSpec.model_construct()


def _of_worker(change: Change, before: Fleet, after: Fleet) -> Iterator[str]:
    if change.action is not Action.REMOVE:
        return
    member = before.workers[change.address.name]
    for name in member.pools:
        pool = after.pools.get(name)
        was = len(before.pools[name].workers) if name in before.pools else 0
        if pool is not None:
            yield f"the pool {name} keeps {len(pool.workers)} of {was} worker{'s' if was != 1 else ''}"


def _pools_below(before: Fleet, after: Fleet) -> Iterator[str]:
    for name, pool in sorted(after.pools.items()):
        was = before.pools.get(name)
        fell = was is None or len(was.workers) > len(pool.workers) or was.workers_min < pool.workers_min
        if fell and len(pool.workers) < pool.workers_min:
            yield f"the pool {name} has {len(pool.workers)} of at least {pool.workers_min} workers"


class _Home(Enum):
    """Who runs the steps of the default pool."""

    SERVER = "server"
    WORKERS = "workers"
    NOBODY = "nobody"


def _home(fleet: Fleet) -> _Home:
    if not fleet.runs_builtin(fleet.default_pool):
        return _Home.WORKERS
    return _Home.SERVER if fleet.builtin_enabled else _Home.NOBODY


def _server_steps(before: Fleet, after: Fleet, desired: DesiredState, live: LiveState) -> Iterator[str]:
    """Say when steps move on or off the server's own machine, or can run nowhere."""
    was, will_be = _home(before), _home(after)
    if was is will_be or not live.objects:
        return
    steps, projects = _default_pool_steps(desired, after)
    if not steps:
        return
    count = f"{steps} step{'s' if steps != 1 else ''} of {projects} project{'s' if projects != 1 else ''}"
    ending = "s" if steps == 1 else ""
    match was, will_be:
        case _, _Home.SERVER:
            effect = f"run{ending} on the server from then on"
        case _, _Home.NOBODY:
            effect = "can run nowhere"
            effect += ", since the space disables the built-in worker" if not before.builtin_enabled else ""
        case _Home.SERVER, _:
            effect = f"stop{ending} running on the server"
        case _:
            effect = "can run again"
    yield f"{_cause(before, after)}: {count} {effect}"


def _cause(before: Fleet, after: Fleet) -> str:
    pool = after.default_pool
    if pool != before.default_pool:
        return f"{pool} becomes the default pool"
    if before.runs_builtin(pool) == after.runs_builtin(pool):
        return f"the space {'enables' if after.builtin_enabled else 'disables'} the built-in worker"
    if before.pools[pool].dynamic != after.pools[pool].dynamic:
        return f"the default pool {pool} becomes {'dynamic' if after.pools[pool].dynamic else 'static'}"
    return f"the {'last worker leaves' if after.runs_builtin(pool) else 'first worker joins'} the default pool {pool}"


def _default_pool_steps(desired: DesiredState, fleet: Fleet) -> tuple[int, int]:
    """Count the steps of the default pool, and the projects that have some; questions to people run nowhere."""
    from reconciler.model.infrastructure import ExecutionLocationSpec  # here, for few plans move such steps
    from reconciler.model.work import ProjectSpec
    from reconciler.schedule.placement import PoolChoice, choose_pool, location_of
    from reconciler.schedule.variables import VariableContext, pool_in_context

    def runs_there(step: "Step", project: ProjectSpec, context: VariableContext) -> bool:
        location = location_of(step, locations)
        if step.disabled or step.action[0] == "manual" or location.run_on == "targets":
            return False
        choice = choose_pool(location, fleet, lambda name: pool_in_context(name, project, desired.objects, context))
        return isinstance(choice, PoolChoice) and choice.pool == fleet.default_pool

    def count(name: str, project: ProjectSpec) -> int:
        contexts = [VariableContext(process=name, step=step.key) for step in project.process]
        return sum(map(runs_there, project.process, [project] * len(contexts), contexts))

    locations: Mapping[str, ExecutionLocationSpec] = {
        address.name: ExecutionLocationSpec.parse(item.spec)
        for address, item in desired.objects.items()
        if address.kind == "ExecutionLocation"
    }
    counts = [
        count(address.name, ProjectSpec.parse(item.spec))
        for address, item in desired.objects.items()
        if address.kind == "Project"
    ]
    return sum(counts), sum(count > 0 for count in counts)
