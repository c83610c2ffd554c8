"""Check processes: steps that can be told apart, scripts that exist, templates that name what there is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.declare.space import FieldPath, FileKind, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity, did_you_mean
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address
from reconciler.model.work import Acting, ProjectSpec, RunbookSpec, Step, StepTemplateSpec
from reconciler.schedule.variables import Sourced, visible
from reconciler.steps.checks import (
    FieldKind,
    Names,
    TemplateField,
    circle_in,
    name_problem,
    template_fields,
    unquoted_interpolation,
)
from reconciler.steps.expansion import declaration_problems, parameter_problems
from reconciler.steps.script import ScriptInputs
from reconciler.steps.table import inputs_of
from reconciler.steps.template import TemplateInputs
from reconciler.steps.templates import check, check_condition, is_template, uses


@dataclass(frozen=True, slots=True)
class _Process:
    """One process with what its templates may name."""

    declared: Declared
    steps: tuple[Step, ...]
    variables: frozenset[str]
    sensitive: frozenset[str]
    pools: frozenset[str]


def process_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every process and step template."""
    templates = {found.address.name: StepTemplateSpec.parse(found.spec) for found in space.of_kind("StepTemplate")}
    for process in _processes(space):
        yield from _same_steps(space, process)
        for index, step in enumerate(process.steps):
            yield from _step_problems(space, process, index, step, templates)
    for declared in space.of_kind("StepTemplate"):
        yield from _template_problems(space, declared, templates[declared.address.name])
    for declared in space.of_kind("Project"):
        yield from _value_problems(space, declared)


def _processes(space: Space) -> Iterator[_Process]:
    for declared in space.of_kind("Project"):
        spec = ProjectSpec.parse(declared.spec)
        yield _process(declared, spec.process, _visible(space, declared.address.name, spec))
    for declared in space.of_kind("Runbook"):
        runbook = RunbookSpec.parse(declared.spec)
        project = space.objects.get(Address("Project", runbook.project))
        known = _visible(space, runbook.project, ProjectSpec.parse(project.spec)) if project else []
        yield _process(declared, runbook.process, known)


def _process(declared: Declared, steps: tuple[Step, ...], known: list[Sourced]) -> _Process:
    return _Process(
        declared,
        steps,
        frozenset(found.name for found in known),
        frozenset(found.name for found in known if found.variable.type == "sensitive"),
        frozenset(found.name for found in known if found.variable.type == "workerPool"),
    )


def _visible(space: Space, name: str, project: ProjectSpec) -> list[Sourced]:
    """Return every variable that a process of the project may see: also those of some tenants or deployments only."""
    sets = {
        found.address.name: VariableSetSpec.parse(found.spec)
        for found in space.of_kind("VariableSet")
        if found.address.name in project.variable_sets
    }
    known = list(visible(name, project, sets))
    for tenant in space.of_kind("Tenant"):
        known += visible(name, project, {}, tenant=(tenant.address.name, TenantSpec.parse(tenant.spec)))
    for deployment in (*space.of_kind("Deployment"), *space.of_kind("RunbookRun")):
        values = json.loads(deployment.spec).get("variables", {})
        known += visible(name, project, {}, deployment=(deployment.address.name, values))
    return known


def _same_steps(space: Space, process: _Process) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for index, step in enumerate(process.steps):
        where: FieldPath = ("spec", "process", index, "id" if step.id else "name")
        if not step.key:
            yield space.error(
                process.declared, where, "step-without-id", f'no id can be made of "{step.name}"; write one'
            )
            continue
        first = seen.setdefault(step.key, index)
        if first != index:
            yield Diagnostic(
                space.locate(process.declared, where),
                Severity.ERROR,
                "duplicate-step",
                f'two steps of {process.declared.address} have the id "{step.key}"',
                "give one of them another name, or an id of its own",
                (Related(space.locate(process.declared, ("spec", "process", first, "name")), "it is used here first"),),
            )


def _step_problems(
    space: Space, process: _Process, index: int, step: Step, templates: Mapping[str, StepTemplateSpec]
) -> Iterator[Diagnostic]:
    root: FieldPath = ("spec", "process", index)
    yield from _script_problems(space, process.declared, root, step)
    yield from _location_problems(space, process, root, step)
    earlier = {name for other in process.steps[:index] for name in (other.key, other.name)}
    for field in template_fields(step, templates):
        names = Names(process.variables, earlier, None, leased=field.kind.leased)
        yield from _field_problems(space, process.declared, (*root, *field.path), field, names)
        yield from _leaks(space, process, (*root, *field.path), field)
    key, inputs = inputs_of(step)
    if isinstance(inputs, TemplateInputs) and inputs.name in templates:
        for problem in parameter_problems(inputs, templates[inputs.name]):
            path = (*root, key, *problem.path)
            yield space.error(process.declared, path, "bad-parameter", problem.sentence)


def _script_problems(space: Space, declared: Declared, root: FieldPath, step: Acting) -> Iterator[Diagnostic]:
    key, inputs = inputs_of(step)
    if not isinstance(inputs, ScriptInputs):
        return
    if inputs.file is not None:
        yield from _file_problems(space, declared, (*root, key, "file"), inputs.file)
    if inputs.body is not None:
        for sentence in {problem.sentence for problem in unquoted_interpolation(inputs.body, inputs.syntax)}:
            yield space.warning(declared, (*root, key, "body"), "unquoted-value", sentence)


def _file_problems(space: Space, declared: Declared, path: FieldPath, file: str) -> Iterator[Diagnostic]:
    if file.startswith("/") or ".." in file.split("/"):
        message = f'"{file}" leads out of the space; name a file below its root'
        yield space.error(declared, path, "outside", message)
        return
    match space.paths.get(file):
        case FileKind.FILE:
            return
        case None:
            message = f'there is no file "{file}"{did_you_mean(file, space.paths)}'
            yield space.error(declared, path, "missing-file", message, "the path is relative to the space's root")
        case kind:
            yield space.error(declared, path, "link", f'"{file}" is a {kind}, which is never followed')


def _location_problems(space: Space, process: _Process, root: FieldPath, step: Step) -> Iterator[Diagnostic]:
    location = step.location
    if isinstance(location, str):
        named = space.objects.get(Address("ExecutionLocation", location))
        location = ExecutionLocationSpec.parse(named.spec) if named else None
    variable = location.pool_variable if location else None
    if variable is not None and variable not in process.pools:
        inline = isinstance(step.location, ExecutionLocationSpec)
        path = (*root, "location", "poolVariable") if inline else (*root, "location")
        if variable in process.variables:
            message = f"the variable {variable} is not of type workerPool"
        else:
            message = f"the worker-pool variable {variable} is not declared{did_you_mean(variable, process.pools)}"
        yield space.error(process.declared, path, "unknown-variable", message)


def _field_problems(
    space: Space, declared: Declared, path: FieldPath, field: TemplateField, names: Names
) -> Iterator[Diagnostic]:
    problem = check_condition(field.text) if field.kind is FieldKind.CONDITION else check(field.text)
    if problem is not None:
        yield space.error(declared, path, "bad-template", problem.sentence)
        return
    for use in uses(field.text):
        sentence = name_problem(use, names)
        if sentence is not None:
            yield space.error(declared, path, "unknown-name", sentence)


def _leaks(space: Space, process: _Process, path: FieldPath, field: TemplateField) -> Iterator[Diagnostic]:
    if field.kind.sensitive_allowed:
        return
    for use in uses(field.text):
        name = ".".join(use.path[1:])
        if use.path[0] == "vars" and name in process.sensitive:
            yield space.error(
                process.declared,
                path,
                "secret-in-clear",
                f"the sensitive variable {name} would be seen here",
                "sensitive values reach a step through env alone",
            )


def _template_problems(space: Space, declared: Declared, spec: StepTemplateSpec) -> Iterator[Diagnostic]:
    for problem in declaration_problems(spec):
        path = ("spec", "parameters", *problem.path)
        yield space.error(declared, path, "bad-parameter", problem.sentence)
    root: FieldPath = ("spec", "action")
    yield from _script_problems(space, declared, root, spec.action)
    parameters = {parameter.name for parameter in spec.parameters}
    sensitive = {parameter.name for parameter in spec.parameters if parameter.type == "sensitive"}
    everywhere = _all_variables(space)
    for field in template_fields(spec.action):
        path = (*root, *field.path)
        names = Names(everywhere, None, parameters, leased=field.kind.leased)
        yield from _field_problems(space, declared, path, field, names)
        for use in uses(field.text):
            if use.path[0] == "params" and ".".join(use.path[1:]) in sensitive and not field.kind.sensitive_allowed:
                message = f"the sensitive parameter {use.path[1]} would be seen here"
                yield space.error(
                    declared, path, "secret-in-clear", message, "sensitive parameters reach the template's env alone"
                )


def _all_variables(space: Space) -> set[str]:
    """Return every variable's name: a template is used by steps of any project."""
    names = set()
    for kind in ("Project", "VariableSet", "Tenant"):
        for declared in space.of_kind(kind):
            names |= {str(variable["name"]) for variable in json.loads(declared.spec).get("variables", [])}
    for declared in space.of_kind("Deployment"):
        names |= set(json.loads(declared.spec).get("variables", {}))
    return names


def _value_problems(space: Space, declared: Declared) -> Iterator[Diagnostic]:
    """Check the templates in a project's own values, and that no value needs itself."""
    spec = ProjectSpec.parse(declared.spec)
    known = {found.name for found in _visible(space, declared.address.name, spec)}
    needs: dict[str, set[str]] = {}
    for index, variable in enumerate(spec.variables):
        for number, scoped in enumerate(variable.scoped()):
            text = scoped.value
            if variable.type != "string" or not isinstance(text, str) or not is_template(text):
                continue
            inner: FieldPath = ("value",) if variable.value is not None else ("values", number, "value")
            field = TemplateField(inner, text, FieldKind.SENSITIVE)
            path = ("spec", "variables", index, *inner)
            yield from _field_problems(space, declared, path, field, Names(known, None, None, leased=True))
            found = {".".join(use.path[1:]) for use in uses(text) if use.path[0] == "vars"}
            needs.setdefault(variable.name, set()).update(found)
    circle = circle_in(needs)
    if circle is not None:
        index = next(number for number, variable in enumerate(spec.variables) if variable.name == circle[0])
        message = f"the value needs itself: {' → '.join(circle)}"
        yield space.error(declared, ("spec", "variables", index, "name"), "cycle", message)
