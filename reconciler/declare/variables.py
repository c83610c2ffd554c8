"""Check variables: one meaning each, no tie between scopes, nothing sensitive in clear, pools that exist."""

import json
from collections.abc import Iterator, Mapping

from reconciler.declare.partial import is_stand_in
from reconciler.declare.space import STEP_KEYS, FieldPath, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity
from reconciler.model.order import IMPLICIT
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address
from reconciler.model.variables import ScopedValue, SecretSource, Variable
from reconciler.model.work import ProjectSpec, RunbookSpec, Step
from reconciler.schedule.variables import Sourced, find_ties, prefix_conflicts, visible

OWNERS: Mapping[str, type[ProjectSpec | VariableSetSpec | TenantSpec]] = {
    "Project": ProjectSpec,
    "VariableSet": VariableSetSpec,
    "Tenant": TenantSpec,
}
"""Kinds that declare variables."""

NAMED: Mapping[str, str] = {"workerPool": "WorkerPool", "account": "Account", "certificate": "Certificate"}
"""Types of variables whose values are names, and the kind of what they name."""


def variable_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every declared variable."""
    for kind, model in OWNERS.items():
        for declared in space.of_kind(kind):
            if '"variables":' in declared.spec:
                yield from _of_owner(space, declared, space.spec(declared, model).variables)
    for declared in space.of_kind("Project"):
        yield from _ties(space, declared)


def _of_owner(space: Space, declared: Declared, variables: tuple[Variable, ...]) -> Iterator[Diagnostic]:
    yield from _twice(space, declared, variables)
    for index, variable in enumerate(variables):
        for path, scoped in _values(index, variable):
            if not space.lacks(declared, ("spec", "variables", index, "type")):
                yield from _value_problems(space, declared, variable, path, scoped)
            yield from _scope_problems(space, declared, path, scoped)


def _twice(space: Space, declared: Declared, variables: tuple[Variable, ...]) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for index, variable in enumerate(variables):
        first = seen.setdefault(variable.name, index)
        if first != index:
            yield Diagnostic(
                space.locate(declared, ("spec", "variables", index, "name")),
                Severity.ERROR,
                "duplicate-variable",
                f"the variable {variable.name} is declared twice in {declared.address}",
                "write both values under one `values`, each with its scope",
                (Related(space.locate(declared, ("spec", "variables", first, "name")), "it is declared here first"),),
            )
    for shorter, longer in prefix_conflicts(seen):
        message = f"{shorter} is a variable and the beginning of {longer}; templates could not tell them apart"
        yield space.error(declared, ("spec", "variables", seen[longer], "name"), "variable-prefix", message)


def _values(index: int, variable: Variable) -> Iterator[tuple[FieldPath, ScopedValue]]:
    root: FieldPath = ("spec", "variables", index)
    if variable.value is not None:
        yield root, ScopedValue(value=variable.value)
    for number, scoped in enumerate(variable.values or ()):
        yield (*root, "values", number), scoped


def _value_problems(
    space: Space, declared: Declared, variable: Variable, path: FieldPath, scoped: ScopedValue
) -> Iterator[Diagnostic]:
    value = scoped.value
    if isinstance(value, str) and is_stand_in(value):
        return
    if variable.type == "sensitive" and isinstance(value, str):
        yield space.error(
            declared,
            (*path, "value"),
            "secret-in-clear",
            f"the sensitive variable {variable.name} is written in clear",
            "name where it comes from, such as value: {env: NAME}, {file: PATH}, {command: [...]} or an age: text",
        )
    if variable.type != "sensitive" and isinstance(value, SecretSource) and _source_name(value) not in {"env", ""}:
        message = f"only a sensitive variable comes from {_source_name(value)}; a plain one may come from env"
        yield space.error(declared, (*path, "value"), "source-not-allowed", message)
    if variable.type == "workerPool":
        yield from _pool_problems(space, declared, variable, path, scoped)
    if variable.type in NAMED:
        yield from _named(space, declared, NAMED[variable.type], path, scoped)


def _source_name(source: SecretSource) -> str:
    return next((name for name in ("env", "file", "age", "command", "source") if getattr(source, name)), "")


def _pool_problems(
    space: Space, declared: Declared, variable: Variable, path: FieldPath, scoped: ScopedValue
) -> Iterator[Diagnostic]:
    if scoped.scope.targets or scoped.scope.target_tags:
        field = "targets" if scoped.scope.targets else "targetTags"
        message = f"the worker-pool variable {variable.name} is scoped to {field}; a pool is chosen before any target"
        yield space.error(declared, (*path, "scope", field), "pool-scope", message)


def _named(space: Space, declared: Declared, kind: str, path: FieldPath, scoped: ScopedValue) -> Iterator[Diagnostic]:
    name = scoped.value
    if not isinstance(name, str) or is_stand_in(name) or Address(kind, name) in IMPLICIT:
        return
    if not space.may_hold(Address(kind, name)):
        message = f'{kind} "{name}" is not declared{space.suggestion(name, space.names(kind))}'
        yield space.error(declared, (*path, "value"), "unknown-reference", message)


def _scope_problems(space: Space, declared: Declared, path: FieldPath, scoped: ScopedValue) -> Iterator[Diagnostic]:
    for index, name in enumerate(scoped.scope.processes):
        if not (is_stand_in(name) or any(space.may_hold(Address(kind, name)) for kind in ("Project", "Runbook"))):
            processes = space.names("Project") | space.names("Runbook")
            message = f'no project or runbook is called "{name}"{space.suggestion(name, processes)}'
            yield space.error(declared, (*path, "scope", "processes", index), "unknown-reference", message)
    steps = _steps_of(space, declared) if scoped.scope.steps else None
    if steps is None:
        return
    whose = f"{declared.address} has no step" if declared.address.kind == "Project" else "no process has a step"
    for index, key in enumerate(scoped.scope.steps):
        if key not in steps and not is_stand_in(key):
            message = f'{whose} "{key}"{space.suggestion(key, steps)}'
            yield space.error(declared, (*path, "scope", "steps", index), "unknown-step", message)


def _steps_of(space: Space, owner: Declared) -> set[str] | None:
    """Return the steps that a variable of `owner` may be scoped to: of its processes, or of all; None if uncertain."""
    name = owner.address.name
    only = name if owner.address.kind == "Project" else None
    processes: list[tuple[Declared, tuple[Step, ...]]] = [
        (project, space.spec(project, ProjectSpec).process)
        for project in space.of_kind("Project")
        if only in {None, project.address.name}
    ]
    for runbook in space.of_kind("Runbook"):
        spec = space.spec(runbook, RunbookSpec)
        if only in {None, spec.project} or space.lacks(runbook, ("spec", "project")):
            processes.append((runbook, spec.process))
    hidden = space.hides("Runbook") or (only is None and space.hides("Project"))
    if hidden or any(space.lacks(declared, *STEP_KEYS) for declared, _ in processes):
        return None
    return {step.key for _, steps in processes for step in steps}


def _ties(space: Space, project: Declared) -> Iterator[Diagnostic]:
    """Find values that hold alike in one project: its own, or those of the sets that it takes."""
    spec = space.spec(project, ProjectSpec)
    sets = {
        name: space.spec(space.objects[Address("VariableSet", name)], VariableSetSpec)
        for name in spec.variable_sets
        if Address("VariableSet", name) in space.objects
    }
    tenants = {item.address.name: json.loads(item.spec).get("tags", []) for item in space.of_kind("Tenant")}
    targets = {item.address.name: json.loads(item.spec).get("tags", []) for item in space.of_kind("DeploymentTarget")}
    for tie in find_ties(visible(project.address.name, spec, sets), tenants, targets):
        if tie.first.owner == tie.second.owner and tie.first.variable is not tie.second.variable:
            continue  # one variable declared twice, which is told already
        later, earlier = _place(space, tie.second, tie.second_index), _place(space, tie.first, tie.first_index)
        if later is None or earlier is None or any(space.open_at(*_scoped(place)) for place in (later, earlier)):
            continue
        yield Diagnostic(
            space.locate(*later),
            Severity.ERROR,
            "ambiguous-variable",
            tie.sentence,
            "narrow the scope of one of them, or remove it",
            (Related(space.locate(*earlier), "the other value is here"),),
        )


def _scoped(place: tuple[Declared, FieldPath]) -> tuple[Declared, FieldPath, FieldPath]:
    """Return where a value's scope and its variable's name stand, which must be certain for it to tie with another."""
    declared, path = place
    return declared, (*path[:-1], "scope"), (*path[:3], "name")


def _place(space: Space, sourced: Sourced, index: int) -> tuple[Declared, FieldPath] | None:
    for kind in ("Project", "VariableSet"):
        owner = space.objects.get(Address(kind, sourced.owner))
        if owner is None:
            continue
        for number, variable in enumerate(space.spec(owner, OWNERS[kind]).variables):
            if variable == sourced.variable:
                inner: FieldPath = ("values", index) if variable.values is not None else ()
                return owner, ("spec", "variables", number, *inner, "value")
    return None
