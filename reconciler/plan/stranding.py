"""Which steps of unfinished tasks changes leave without any worker that can take them, and which changes do."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Task, TaskState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, Step
from reconciler.plan.changes import Action, Change, title
from reconciler.plan.fleets import fleets
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.fleet import BUILTIN, Fleet
from reconciler.schedule.placement import Nowhere, PoolChoice, candidates, needs_of
from reconciler.schedule.requests import Needs
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext


def stranded(changes: Collection[Change], desired: DesiredState, live: LiveState) -> Mapping[Address, str]:
    """Say of each change that takes workers from a step which one, where somebody can take it now and nobody after all.

    The steps are those that are declared and that unfinished tasks have still to begin.
    """
    tasks = list(_unfinished(changes, live))
    if not tasks:
        return {}
    before, after = fleets(changes, desired, live)
    now, then = _Able(before), _Able(after)
    found: dict[Address, str] = {}
    for asking in _asking(tasks, live, before, after):
        able = now.of(asking.before)
        if able and not then.of(asking.after):
            for change in changes:
                if change.address not in found and _takes(change, asking, able, before, after):
                    found[change.address] = asking.words
    return found


@dataclass(frozen=True, slots=True)
class _Asking:
    """A step that a task has still to begin, and what it asks for in the fleet as it is and as it would be."""

    task: Task
    step: Step
    before: Needs
    after: Needs

    @property
    def words(self) -> str:
        """Name it as a plan does."""
        task = self.task
        return (
            f'"{self.step.name}" of {title(task.deployment, task.slot)} (task {task.id}) in the pool {self.before.pool}'
        )


def _unfinished(changes: Iterable[Change], live: LiveState) -> Iterator[Task]:
    """Yield the tasks that begin further steps if the changes are made: a queued one leaves with its deployment."""
    leaving = {
        change.address.name
        for change in changes
        if change.address.kind == "Deployment" and change.action is Action.REMOVE
    }
    for task in (*live.last_tasks.values(), *live.overtaken):
        is_over = task.state.ended or task.state is TaskState.CANCELLING or bool(task.cancel_by)
        if not is_over and not (task.state is TaskState.QUEUED and task.deployment in leaving):
            yield task


def _asking(tasks: Iterable[Task], live: LiveState, before: Fleet, after: Fleet) -> Iterator[_Asking]:
    """Yield the steps that tasks have still to begin on workers, by what is declared now."""
    here, there = Whereabouts(live.objects, before), Whereabouts(live.objects, after)
    projects: dict[str, ProjectSpec] = {}
    for task in tasks:
        slot = task.slot
        declared = live.objects.get(Address("Project", slot.project))
        if declared is None:
            continue
        if slot.project not in projects:
            projects[slot.project] = ProjectSpec.parse(declared.spec)
        project = projects[slot.project]
        tags = _tags(slot.tenant, live)
        for step in _left(task, project, tags, live):
            context = VariableContext(slot.environment, slot.tenant, tags, step.key, slot.project)
            was, will_be = here.choice(step, project, context), there.choice(step, project, context)
            if isinstance(was, PoolChoice) and isinstance(will_be, PoolChoice):
                needs = (needs_of(step, each.pool, slot.environment, each.requires) for each in (was, will_be))
                yield _Asking(task, step, *needs)


def _left(task: Task, project: ProjectSpec, tags: tuple[str, ...], live: LiveState) -> Iterator[Step]:
    """Yield the steps that a task does not leave out, and that have neither begun nor ended."""
    deployment = live.objects.get(Address("Deployment", task.deployment))
    skipped = DeploymentSpec.parse(deployment.spec).skip_steps if deployment is not None else ()
    settled = live.settled.get(task.id, ())
    for step in project.process:
        is_asked = step.action[0] != "manual" and step.key not in settled
        if is_asked and leaves_out(step, task.slot.environment, tags, skipped) is None:
            yield step


def _tags(tenant: str | None, live: LiveState) -> tuple[str, ...]:
    found = live.objects.get(Address("Tenant", tenant)) if tenant is not None else None
    return TenantSpec.parse(found.spec).tags if found is not None else ()


class _Able:
    """Knows which machines of a fleet can take a step, whatever runs there just now; most steps share their needs."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._known: dict[Needs, frozenset[str]] = {}

    def of(self, needs: Needs) -> frozenset[str]:
        """Return their names."""
        if needs not in self._known:
            found = candidates(needs, self._fleet)
            members = () if isinstance(found, Nowhere) else found
            self._known[needs] = frozenset(one.name for one in members if one.unfit(needs) is None)
        return self._known[needs]


def _takes(change: Change, asking: _Asking, able: Collection[str], before: Fleet, after: Fleet) -> bool:
    """Say whether a change takes away somebody who can take a step, or the pool between them."""
    match change.address.kind:
        case "Worker":
            return change.action is not Action.CREATE and _takes_worker(change, asking, able, before, after)
        case "WorkerPool":
            return _takes_pool(change, asking, after)
        case "Space":
            return BUILTIN in able and after.runs_builtin(asking.after.pool) and not after.builtin_enabled
    return False


def _takes_worker(change: Change, asking: _Asking, able: Collection[str], before: Fleet, after: Fleet) -> bool:
    """Say whether a change makes a worker unable, or brings the first one to a pool whose steps the server runs."""
    former = (change.former or change.address).name
    member = after.workers.get(change.address.name)
    if former in able:
        needs = asking.before
        return member is None or needs.pool not in member.pools or member.unfit(needs) is not None
    joins = member is not None and asking.after.pool in set(member.pools) - set(before.workers[former].pools)
    return BUILTIN in able and joins


def _takes_pool(change: Change, asking: _Asking, after: Fleet) -> bool:
    """Say whether a change closes the pool of a step, or makes another one the default one."""
    was, will_be = asking.before.pool, asking.after.pool
    if was != will_be and any(field.path == "default" for field in change.fields):
        return True
    pool = after.pools.get(will_be)
    allowed = pool.allowed_environments if pool is not None else None
    is_open = pool is not None and not pool.dynamic and (allowed is None or asking.after.environment in allowed)
    return not is_open and bool({was, will_be} & {change.address.name, (change.former or change.address).name})
