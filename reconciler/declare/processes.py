"""Check processes: steps that can be told apart, scripts that exist, templates that name what there is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from reconciler.declare.fields import Known, field_problems
from reconciler.declare.files import leads_out, public_file
from reconciler.declare.nodes import Piece
from reconciler.declare.partial import is_stand_in
from reconciler.declare.readings import readings
from reconciler.declare.space import GROUPED_STEP_KEYS, STEP_KEYS, FieldPath, Space
from reconciler.declare.visibility import (
    all_variables,
    has_certain_types,
    sees_all_variables,
    sensitive_names,
    visible_variables,
)
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.spec import Address
from reconciler.model.work import Acting, ProjectSpec, RunbookSpec, Step, StepTemplateSpec
from reconciler.steps.checks import (
    Names,
    TemplateField,
    template_fields,
    unquoted_interpolation,
)
from reconciler.steps.expansion import NOT_SHARED, declaration_problems, parameter_problems
from reconciler.steps.group import GroupInputs
from reconciler.steps.script import ScriptInputs
from reconciler.steps.table import STEP_TYPES, inputs_of
from reconciler.steps.template import TemplateInputs
from reconciler.steps.templates import uses

A = TypeVar("A", bound=Acting)

STEP_FIELDS = {field.alias or name: (name, field.default) for name, field in Step.model_fields.items()}
"""The fields of a step by YAML's names: Python's names, and the defaults."""


@dataclass(frozen=True, slots=True)
class _Process:
    """One process with what its templates may name; `certain` where that is all that there may be."""

    declared: Declared
    steps: tuple[Step, ...]
    variables: frozenset[str]
    sensitive: frozenset[str]
    pools: frozenset[str]
    certain: bool


def process_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every process and step template."""
    templates = {found.address.name: space.spec(found, StepTemplateSpec) for found in space.of_kind("StepTemplate")}
    for process in _processes(space):
        yield from _same_steps(space, process)
        earlier: set[str] = set()
        for index, step in enumerate(process.steps):
            found = (
                problem
                for reading in _readings(space, process.declared, step)
                for problem in _step_problems(space, process, _Place(index, reading, earlier), templates)
            )
            yield from dict.fromkeys(found)
            yield from _pointless(space, process.declared, ("spec", "process", index), step)
            earlier |= _called((step, *_children(step)))
    for declared in space.of_kind("StepTemplate"):
        yield from _template_problems(space, declared)


def _readings(space: Space, declared: Declared, step: A) -> Iterator[A]:
    """Yield a step as it is, or that of a faulty object in each way in which it can be read."""
    if space.is_faulty(declared):
        yield from readings(step)
    else:
        yield step


def _processes(space: Space) -> Iterator[_Process]:
    for declared in space.of_kind("Project"):
        yield _process(space, declared, space.spec(declared, ProjectSpec).process, declared)
    for declared in space.of_kind("Runbook"):
        runbook = space.spec(declared, RunbookSpec)
        project = space.objects.get(Address("Project", runbook.project))
        yield _process(space, declared, runbook.process, project)


def _process(space: Space, declared: Declared, steps: tuple[Step, ...], project: Declared | None) -> _Process:
    known = visible_variables(space, project) if project else []
    return _Process(
        declared,
        steps,
        frozenset(found.name for found in known),
        sensitive_names(known),
        frozenset(found.name for found in known if found.variable.type == "workerPool"),
        project is not None and sees_all_variables(space, project),
    )


def _same_steps(space: Space, process: _Process) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for index, step in enumerate(process.steps):
        where: FieldPath = ("spec", "process", index, "id" if step.id else "name")
        if not step.key:
            yield space.error(
                process.declared, where, "step-without-id", f'no id can be made of "{step.name}"; write one'
            )
            continue
        if space.lacks(process.declared, where, ("spec", "process", index, "id")):
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


class _Place(NamedTuple):
    """A step, where it stands in its process, and the ids and names of those before it."""

    number: int
    step: Step
    earlier: set[str]


def _step_problems(
    space: Space, process: _Process, place: _Place, templates: Mapping[str, StepTemplateSpec]
) -> Iterator[Diagnostic]:
    step = place.step
    root: FieldPath = ("spec", "process", place.number)
    yield from _script_problems(space, process.declared, root, step)
    yield from _artifacts(space, process.declared, root, step)
    yield from _location_problems(space, process, root, step)
    for field in template_fields(step, templates):
        certain = {"vars"} if process.certain else set()
        certain |= set() if space.lacks(process.declared, *STEP_KEYS, *GROUPED_STEP_KEYS) else {"steps"}
        known = Known(Names(process.variables, _earlier(place, field), None, leased=field.kind.leased), certain)
        yield from field_problems(space, process.declared, (*root, *field.path), field, known)
        yield from _leaks(space, process, (*root, *field.path), field)
    key, inputs = inputs_of(step)
    if isinstance(inputs, TemplateInputs) and not is_stand_in(inputs.name):
        yield from _parameter_problems(space, process.declared, (*root, key), inputs)


def _earlier(place: _Place, field: TemplateField) -> set[str]:
    """Return what the steps before a field are called; inside of a group also those before it there."""
    match field.path:
        case ("group", "steps", int(number), *_):
            return place.earlier | _called(_children(place.step)[:number])
    return place.earlier


def _called(steps: Iterable[Step]) -> set[str]:
    return {name for step in steps for name in (step.key, step.name)}


def _children(step: Step) -> tuple[Step, ...]:
    if "group" not in (step.model_extra or {}):
        return ()
    for reading in readings(step):
        inputs = inputs_of(reading)[1]
        if isinstance(inputs, GroupInputs):
            return inputs.steps
    return ()


def _parameter_problems(
    space: Space, declared: Declared, path: FieldPath, inputs: TemplateInputs
) -> Iterator[Diagnostic]:
    template = space.objects.get(Address("StepTemplate", inputs.name))
    if template is None or space.open_at(template, ("spec", "parameters")) or space.open_at(declared, (*path, "with")):
        return
    for problem in parameter_problems(inputs, space.spec(template, StepTemplateSpec)):
        yield space.error(declared, (*path, *problem.path), "bad-parameter", problem.sentence)


def _script_problems(space: Space, declared: Declared, root: FieldPath, step: Acting) -> Iterator[Diagnostic]:
    key, inputs = inputs_of(step)
    if not isinstance(inputs, ScriptInputs):
        return
    if inputs.file is not None:
        yield from public_file(space, declared, (*root, key, "file"), inputs.file)
    if inputs.body is not None and not space.lacks(declared, (*root, key, "syntax")):
        for problem in islice(unquoted_interpolation(inputs.body, inputs.syntax), 1):  # they all say the same
            piece = Piece.of(inputs.body, problem.offset, problem.length)
            yield space.warning(declared, (*root, key, "body"), "unquoted-value", problem.sentence, piece=piece)


def _artifacts(space: Space, declared: Declared, root: FieldPath, step: Step) -> Iterator[Diagnostic]:
    for index, pattern in enumerate(step.artifacts):
        if leads_out(pattern):
            message = f'"{pattern}" leads out of the step\'s working directory, where artifacts are collected'
            yield space.error(declared, (*root, "artifacts", index), "bad-path", message)


def _location_problems(space: Space, process: _Process, root: FieldPath, step: Step) -> Iterator[Diagnostic]:
    location = step.location
    if isinstance(location, str):
        named = space.objects.get(Address("ExecutionLocation", location))
        location = space.spec(named, ExecutionLocationSpec) if named else None
    variable = location.pool_variable if location else None
    if variable is not None and variable not in process.pools and process.certain and not is_stand_in(variable):
        inline = isinstance(step.location, ExecutionLocationSpec)
        path = (*root, "location", "poolVariable") if inline else (*root, "location")
        if variable in process.variables and not has_certain_types(space):
            return
        if variable in process.variables:
            message = f"the variable {variable} is not of type workerPool"
        else:
            message = f"the worker-pool variable {variable} is not declared{space.suggestion(variable, process.pools)}"
        yield space.error(process.declared, path, "unknown-variable", message)


def _pointless(space: Space, declared: Declared, root: FieldPath, step: Step) -> Iterator[Diagnostic]:
    """Yield the fields that mean nothing for the type of a step, and of those of a group, where they say anything."""
    actions = [key for key in step.model_extra or {} if key in STEP_TYPES]
    for key in actions if len(actions) == 1 else ():  # of several, nobody knows which one is meant
        for field, why in STEP_TYPES[key].pointless.items():
            name, default = STEP_FIELDS[field]
            if getattr(step, name) != default and not space.open_at(declared, (*root, field)):
                message = f'"{field}" means nothing for a {key} step: {why}'
                remedy = "remove it, or give it to the step that it is for"
                yield space.error(declared, (*root, field), "no-effect", message, remedy)
    for number, child in enumerate(_children(step)):
        inside = (*root, "group", "steps", number)
        if not space.lacks(declared, inside):
            yield from _pointless(space, declared, inside, child)


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


def _template_problems(space: Space, declared: Declared) -> Iterator[Diagnostic]:
    spec = space.spec(declared, StepTemplateSpec)
    for name in sorted(NOT_SHARED.keys() & set(spec.action.model_extra or {})):
        message = f"a StepTemplate's action cannot be {NOT_SHARED[name]}"
        yield space.error(declared, ("spec", "action", name), "nested-template", message, "give it another action")
    for problem in declaration_problems(spec):
        path: FieldPath = ("spec", "parameters", *problem.path)
        if not space.open_at(declared, path):
            yield space.error(declared, path, "bad-parameter", problem.sentence)
    found = (
        problem
        for action in _readings(space, declared, spec.action)
        for problem in _action_problems(space, declared, spec, action)
    )
    yield from dict.fromkeys(found)


def _action_problems(space: Space, declared: Declared, spec: StepTemplateSpec, action: Acting) -> Iterator[Diagnostic]:
    root: FieldPath = ("spec", "action")
    yield from _script_problems(space, declared, root, action)
    parameters = {parameter.name for parameter in spec.parameters}
    sensitive = {parameter.name for parameter in spec.parameters if parameter.type == "sensitive"}
    everywhere, certain = all_variables(space)
    first_names = {"steps", *(("vars",) if certain else ())}
    first_names |= set() if space.lacks(declared, ("spec", "parameters", None, "name")) else {"params"}
    for field in template_fields(action):
        path = (*root, *field.path)
        known = Known(Names(everywhere, None, parameters, leased=field.kind.leased), first_names)
        yield from field_problems(space, declared, path, field, known)
        for use in uses(field.text):
            if use.path[0] == "params" and ".".join(use.path[1:]) in sensitive and not field.kind.sensitive_allowed:
                message = f"the sensitive parameter {use.path[1]} would be seen here"
                yield space.error(
                    declared, path, "secret-in-clear", message, "sensitive parameters reach the template's env alone"
                )
