"""What follows from changes, in words: pools that shrink, steps that move on or off the server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.space import SpaceSpec
from reconciler.plan.changes import Action, Change
from reconciler.schedule.fleet import Fleet, fleet_of

FLEET_KINDS = frozenset({"Space", "Worker", "WorkerPool"})


@dataclass(frozen=True, slots=True)
class Explained:
    """Changes with their consequences, and the warnings that belong to no single one."""

    changes: list[Change]
    warnings: list[str]


def explain(changes: list[Change], desired: DesiredState, live: LiveState) -> Explained:
    """Add consequences in words to each change of the fleet."""
    if not any(change.address.kind in FLEET_KINDS for change in changes):
        return Explained(changes, [])
    before, after = fleet_of(live.objects, _space(live)), fleet_of(desired.objects, desired.space)
    explained = [
        replace(change, consequences=tuple(_of_worker(change, before, after)))
        if change.address.kind == "Worker" and change.action is not Action.CREATE
        else change
        for change in changes
    ]
    return Explained(explained, [*_pools_below(before, after), *_server_steps(before, after, desired, live)])


def _space(live: LiveState) -> SpaceSpec:
    found = next((item for address, item in live.objects.items() if address.kind == "Space"), None)
    return SpaceSpec.parse(found.spec) if found else SpaceSpec()


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


def _server_steps(before: Fleet, after: Fleet, desired: DesiredState, live: LiveState) -> Iterator[str]:
    """Say when steps move on or off the server's own machine."""
    if before.runs_builtin(before.default_pool) == after.runs_builtin(after.default_pool) or not live.objects:
        return
    steps, projects = _default_pool_steps(desired, after)
    if not steps:
        return
    count = f"{steps} step{'s' if steps != 1 else ''} of {projects} project{'s' if projects != 1 else ''}"
    if after.runs_builtin(after.default_pool):
        yield f"the last worker leaves the default pool {after.default_pool}: {count} run on the server from then on"
    else:
        yield f"the first worker joins the default pool {after.default_pool}: {count} stop running on the server"


def _default_pool_steps(desired: DesiredState, fleet: Fleet) -> tuple[int, int]:
    """Count the steps of the default pool, and the projects that have some."""
    from reconciler.model.infrastructure import ExecutionLocationSpec  # here, for few plans move such steps
    from reconciler.model.work import ProjectSpec
    from reconciler.schedule.placement import Nowhere, choose_pool, location_of

    locations: Mapping[str, ExecutionLocationSpec] = {
        address.name: ExecutionLocationSpec.parse(item.spec)
        for address, item in desired.objects.items()
        if address.kind == "ExecutionLocation"
    }
    counts = []
    for address, item in desired.objects.items():
        if address.kind == "Project":
            project = ProjectSpec.parse(item.spec)
            choices = [choose_pool(location_of(step, locations), fleet, lambda _: None) for step in project.process]
            counts.append(
                sum(not isinstance(choice, Nowhere) and choice.pool == fleet.default_pool for choice in choices)
            )
    return sum(counts), sum(count > 0 for count in counts)
