"""Check the templates in declared values, and that no value needs itself."""

import json
from collections.abc import Iterator

from reconciler.declare.fields import Known, field_problems
from reconciler.declare.space import FieldPath, Space
from reconciler.declare.variables import OWNERS
from reconciler.declare.visibility import FROM_RUNS, all_variables, sees_all_variables, visible_variables
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.variables import Variable
from reconciler.model.work import ProjectSpec
from reconciler.steps.checks import FieldKind, Names, TemplateField, circle_in
from reconciler.steps.templates import is_template, uses

STEPS_AND_PARAMETERS = ("steps", "params")


def value_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every value that is a template."""
    for declared in space.of_kind("Project"):
        names = {found.name for found in visible_variables(space, declared)}
        certain = {"steps", "params", *(("vars",) if sees_all_variables(space, declared) else ())}
        yield from _of_owner(space, declared, Known(Names(names, None, None, leased=True), certain))
        yield from _circles(space, declared)
    shared = [declared for kind in ("VariableSet", "Tenant", *FROM_RUNS) for declared in space.of_kind(kind)]
    with_templates = [declared for declared in shared if "${{" in declared.spec]
    if with_templates:
        everywhere, whole = all_variables(space)
        known = Known(Names(everywhere, None, None, leased=True), {"steps", "params", *(("vars",) if whole else ())})
        for declared in with_templates:
            yield from _of_owner(space, declared, known)


def _of_owner(space: Space, declared: Declared, known: Known) -> Iterator[Diagnostic]:
    for path, text in _templates(space, declared):
        yield from field_problems(space, declared, path, TemplateField(("value",), text, FieldKind.SENSITIVE), known)


def _templates(space: Space, declared: Declared) -> Iterator[tuple[FieldPath, str]]:
    if declared.address.kind in OWNERS:
        for index, variable in enumerate(space.spec(declared, OWNERS[declared.address.kind]).variables):
            yield from ((("spec", "variables", index, *path), text) for path, text in _texts(variable))
        return
    for name, text in json.loads(declared.spec).get("variables", {}).items():
        if is_template(text):
            yield ("spec", "variables", name), text


def _texts(variable: Variable) -> Iterator[tuple[FieldPath, str]]:
    """Yield the values of a variable that are templates, each with its path below the variable."""
    values: list[tuple[FieldPath, object]] = [(("value",), variable.value)]
    values += [(("values", number, "value"), scoped.value) for number, scoped in enumerate(variable.values or ())]
    for path, value in values:
        if variable.type == "string" and isinstance(value, str) and is_template(value):
            yield path, value


def _circles(space: Space, declared: Declared) -> Iterator[Diagnostic]:
    variables = space.spec(declared, ProjectSpec).variables
    needs: dict[str, set[str]] = {}
    for variable in variables:
        for _, text in _texts(variable):
            found = {".".join(use.path[1:]) for use in uses(text) if use.path[0] == "vars"}
            needs.setdefault(variable.name, set()).update(found)
    circle = circle_in(needs)
    if circle is not None:
        index = next(number for number, variable in enumerate(variables) if variable.name == circle[0])
        message = f"the value needs itself: {' → '.join(circle)}"
        yield space.error(declared, ("spec", "variables", index, "name"), "cycle", message)
