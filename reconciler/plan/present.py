"""What a task of a slot would pin now, told from what one has pinned by the digests of process and variables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from reconciler.model.live import Slot, Task
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address, canonical_json, digest_of
from reconciler.model.variables import Scope, ScopedValue
from reconciler.model.work import ProjectSpec
from reconciler.plan.processes import names_scripts, process_digest
from reconciler.schedule.fleet import Described
from reconciler.schedule.variables import Source, Sourced, VariableContext, visible


class Present:
    """What is declared now; a project, a set and a tenant are each read once."""

    def __init__(self, objects: Mapping[Address, Described]) -> None:
        self._objects = objects
        self._processes: dict[str, str] = {}
        self._projects: dict[str, ProjectSpec] = {}
        self._sets: dict[str, VariableSetSpec] = {}

    def moved(self, task: Task) -> tuple[str, ...]:
        """Name what is another than the task has pinned: its process, its variables; without what was not recorded."""
        now = {"process": self.process(task.slot.project), "variables": self.variables(task.slot)}
        then = {"process": task.process, "variables": task.variables}
        return tuple(name for name, digest in now.items() if then[name] not in {"", digest})

    def process(self, project: str) -> str:
        """Return the digest of a project's process."""
        if project not in self._processes:
            self._processes[project] = process_digest(self._objects, project)
        return self._processes[project]

    def names_scripts(self, project: str) -> bool:
        """Say whether the process of a project names files whose content a task pins, too."""
        return names_scripts(self._objects, project)

    def variables(self, slot: Slot) -> str:
        """Return the digest of all values that can hold in a slot; "" where its project is gone.

        A secret counts by the source that is named. What a deployment sets is left out: it is in the slot's own digest.
        """
        if Address("Project", slot.project) not in self._objects:
            return ""
        tenant = self._tenant(slot)
        tags = tenant[1].tags if tenant is not None else ()
        context = VariableContext(slot.environment, slot.tenant, tags, process=slot.project)
        project = self._project(slot.project)
        found = visible(slot.project, project, {name: self._set(name) for name in self._known(project)}, tenant)
        return digest_of(canonical_json(_held(found, context)))

    def _project(self, name: str) -> ProjectSpec:
        if name not in self._projects:
            self._projects[name] = ProjectSpec.parse(self._objects[Address("Project", name)].spec)
        return self._projects[name]

    def _known(self, project: ProjectSpec) -> Iterator[str]:
        return (name for name in project.variable_sets if Address("VariableSet", name) in self._objects)

    def _set(self, name: str) -> VariableSetSpec:
        if name not in self._sets:
            self._sets[name] = VariableSetSpec.parse(self._objects[Address("VariableSet", name)].spec)
        return self._sets[name]

    def _tenant(self, slot: Slot) -> tuple[str, TenantSpec] | None:
        found = self._objects.get(Address("Tenant", slot.tenant)) if slot.tenant is not None else None
        return (str(slot.tenant), TenantSpec.parse(found.spec)) if found is not None else None


def _held(variables: Iterable[Sourced], context: VariableContext) -> JsonValue:
    """Return what each variable can be in a place: what holds there, and what holds in some steps or on some targets."""
    by_name: dict[str, list[Sourced]] = defaultdict(list)
    for sourced in variables:
        by_name[sourced.name].append(sourced)
    return {name: _values(ours, context) for name, ours in by_name.items()}


def _values(ours: list[Sourced], context: VariableContext) -> JsonValue:
    """Return the types of one variable and its values, those of steps and targets with what they beat one another by."""
    everywhere: list[tuple[int, Source, JsonValue]] = []
    narrow: list[JsonValue] = []
    for sourced in ours:
        for scoped in sourced.variable.scoped():
            weight = sourced.weigh(_place(scoped.scope), context)
            if weight is None:
                continue
            at: list[JsonValue] = [[*sorted(names)] for names in _narrow(scoped.scope)]
            if any(at):
                narrow.append([weight, int(sourced.source), at, _value(scoped)])
            else:
                everywhere.append((weight, sourced.source, _value(scoped)))
    best = max((rank for *rank, _ in everywhere), default=None)
    holds: list[JsonValue] = [value for *rank, value in everywhere if rank == best]
    kinds: list[JsonValue] = [*sorted({sourced.variable.type for sourced in ours})]
    return [kinds, sorted(holds, key=canonical_json), sorted(narrow, key=canonical_json)]


def _narrow(scope: Scope) -> tuple[tuple[str, ...], ...]:
    """Return the part of a scope that is known with a step and a target."""
    return (scope.steps, scope.targets, scope.target_tags)


def _place(scope: Scope) -> Scope:
    """Return the part of a scope that is known before a step and a target are."""
    return scope.model_copy(update={"steps": (), "targets": (), "target_tags": ()})


def _value(scoped: ScopedValue) -> JsonValue:
    value = scoped.value
    return value if isinstance(value, str) else {"source": value.canonical()}
