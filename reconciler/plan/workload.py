"""What a rehearsal plays: a task for each declared deployment, with its steps placed in pools and their durations drawn."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.model.desired import DesiredState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.plan.deployments import Wish
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.asking import step_request, turn_request
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.lasting import Lasting
from reconciler.schedule.placement import Nowhere, PoolChoice, candidates
from reconciler.schedule.rehearsal import Part, Process, RehearsedTask, Soak
from reconciler.schedule.requests import Needs, Request
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext

QUEUED_APART = 1e-6
"""Seconds between the queueing of one task and that of the next."""

AT_ONCE = Lasting((0.0,))
"""How long a person takes to answer, where nothing else is known."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long steps take: as it was told, else as it was recorded, else `default`; by project and step id."""

    told: Mapping[tuple[str, str], Lasting]
    recorded: Mapping[tuple[str, str], Lasting]
    default: Lasting

    def of(self, project: str, step: Step) -> Lasting:
        """Return how long a step takes."""
        return self.known(project, step)[1]

    def known(self, project: str, step: Step) -> tuple[str, Lasting]:
        """Return how long a step takes and where that comes from; a person is taken to answer at once."""
        key = project, step.key
        if key in self.told:
            return "told", self.told[key]
        if step.action[0] == "manual":
            return "atOnce", AT_ONCE
        if key in self.recorded:
            return "recorded", self.recorded[key]
        return "default", self.default


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A deployment that cannot be rehearsed, and why."""

    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Workload:
    """The tasks of wishes in the order of their queueing, without the durations of their steps, and what is left out."""

    wishes: tuple[Wish, ...]
    projects: Mapping[str, ProjectSpec]
    tasks: tuple[RehearsedTask, ...]
    left_out: tuple[LeftOut, ...]

    def drawn(self, durations: Durations, draw: Callable[[], float]) -> Iterator[RehearsedTask]:
        """Yield the tasks with a duration of each step.

        `draw` returns shares from 0 to 1. It is asked once for each step of each wish, whatever the fleet is, so that
        two rehearsals on different fleets differ by the fleet alone.
        """
        tasks = {task.title: task for task in self.tasks}
        for wish in self.wishes:
            name = wish.slot.project
            seconds = tuple(durations.of(name, step).at(draw()) for step in self.projects[name].process)
            if _title(wish) in tasks:
                yield replace(tasks[_title(wish)], seconds=seconds)


def workload(
    desired: DesiredState, fleet: Fleet, wishes: Iterable[Wish], failing: Collection[tuple[str, str]] = ()
) -> Workload:
    """Make a task of each wish; `failing` names the steps that fail, by project and id."""
    drafter, wanted = _Drafter(desired, fleet, failing), tuple(wishes)
    drafts: list[_Draft] = []
    left_out: dict[str, list[LeftOut]] = defaultdict(list)
    for wish in wanted:
        made = drafter.process(wish)
        if isinstance(made, str):
            left_out[wish.deployment].append(LeftOut(_title(wish), made))
        else:
            drafts.append(_Draft(wish, made))
    drafts = _without_followers(drafts, left_out)
    tasks = tuple(_tasks(drafts, drafter.project))
    return Workload(wanted, drafter.projects, tasks, tuple(item for items in left_out.values() for item in items))


@dataclass(frozen=True, slots=True)
class _Draft:
    wish: Wish
    process: Process


def _without_followers(drafts: list[_Draft], left_out: dict[str, list[LeftOut]]) -> list[_Draft]:
    """Leave out, too, what comes after a deployment that is left out."""
    while True:
        kept = []
        for draft in drafts:
            names = [after.deployment for after in draft.wish.spec.waits_for()]
            missing = next((name for name in names if name in left_out), None)
            if missing is None:
                kept.append(draft)
            else:
                left_out[draft.wish.deployment].append(LeftOut(_title(draft.wish), f"{missing} is left out before it"))
        if len(kept) == len(drafts):
            return kept
        drafts = kept


def _tasks(drafts: list[_Draft], project: Callable[[str], ProjectSpec]) -> Iterator[RehearsedTask]:
    """Yield numbered tasks, each after those that its deployment names and that are rehearsed, too."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, draft in enumerate(drafts):
        places[draft.wish.deployment].append(place)
    for place, draft in enumerate(drafts):
        wish = draft.wish
        soaks = [
            Soak(other, after.soak.seconds if after.soak else 0.0)
            for after in wish.spec.waits_for()
            for other in places[after.deployment]
        ]
        tag = project(wish.slot.project).concurrency_tag
        turn = turn_request(place + 1, wish.slot, tag, priority=wish.spec.priority, since=(place + 1) * QUEUED_APART)
        yield RehearsedTask(_title(wish), turn, draft.process, (), tuple(soaks))


def _title(wish: Wish) -> str:
    return f"{wish.deployment}@{wish.slot.tenant}" if wish.slot.tenant else wish.deployment


class _Drafter:
    """Makes processes of what one desired state declares, on one fleet."""

    def __init__(self, desired: DesiredState, fleet: Fleet, failing: Collection[tuple[str, str]]) -> None:
        self._objects = desired.objects
        self._where = Whereabouts(desired.objects, fleet)
        self._failing = failing
        self.projects: dict[str, ProjectSpec] = {}
        """Those that were asked for."""
        self._obstacles: dict[Needs, str] = {}

    def project(self, name: str) -> ProjectSpec:
        """Return a declared project, parsed once."""
        if name not in self.projects:
            self.projects[name] = ProjectSpec.parse(self._objects[Address("Project", name)].spec)
        return self.projects[name]

    def process(self, wish: Wish) -> Process | str:
        """Return the process of a wish's task, or say which step of it nobody can run and why."""
        project, slot, tags = self.project(wish.slot.project), wish.slot, self._tags(wish.slot.tenant)
        parts = []
        for step in project.process:
            left_out = leaves_out(step, slot.environment, tags, wish.spec.skip_steps) or ""
            request = None
            if not left_out and step.action[0] != "manual":
                asked = self._request(step, project, wish, tags)
                if isinstance(asked, str):
                    return f'nobody can run the step "{step.name}": {asked}'
                request = asked
            parts.append(Part(step, request, left_out, (slot.project, step.key) in self._failing))
        return Process(tuple(parts), project.max_parallel_steps)

    def _request(self, step: Step, project: ProjectSpec, wish: Wish, tags: tuple[str, ...]) -> Request | str:
        slot = wish.slot
        context = VariableContext(
            environment=slot.environment, tenant=slot.tenant, tenant_tags=tags, step=step.key, process=slot.project
        )
        choice = self._where.choice(step, project, context)
        if not isinstance(choice, PoolChoice):
            return choice.reason if isinstance(choice, Nowhere) else choice
        request = step_request(step, self._where.location(step), choice, slot, priority=wish.spec.priority)
        assert request.needs is not None  # as of every step
        return self._obstacle(request.needs) or request

    def _obstacle(self, needs: Needs) -> str:
        """Say why nobody can take what has such needs, or "" where somebody can."""
        if needs not in self._obstacles:
            found = candidates(needs, self._where.fleet)
            if isinstance(found, Nowhere):
                self._obstacles[needs] = found.reason
            else:
                unfit = [(member.name, member.unfit(needs)) for member in found]
                able = any(reason is None for _, reason in unfit)
                self._obstacles[needs] = "" if able else _nobody(needs.pool, unfit)
        return self._obstacles[needs]

    def _tags(self, tenant: str | None) -> tuple[str, ...]:
        if tenant is None:
            return ()
        return TenantSpec.parse(self._objects[Address("Tenant", tenant)].spec).tags


def _nobody(pool: str, unfit: list[tuple[str, str | None]]) -> str:
    (name, reason), *others = unfit
    more = f" (and {len(others)} more)" if others else ""
    return f"no worker of the pool {pool} can take it: {name} {reason}{more}"
