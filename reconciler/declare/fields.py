"""Check fields that are templates, and that no others look like one."""

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from reconciler.declare.nodes import Piece
from reconciler.declare.readings import readings
from reconciler.declare.space import FieldPath, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.work import ProjectSpec, RunbookSpec, StepTemplateSpec
from reconciler.steps.checks import FieldKind, Names, TemplateField, name_problem, template_fields
from reconciler.steps.templates import TemplateProblem, Use, check_condition, is_template, problems, uses

ENV_BYTES_MAX = 127 * 1024  # of one environment value: Linux passes no more to a program


PLACED_MAX = 100  # faults of a field whose places in it are looked for: each reads the field once


class Known(NamedTuple):
    """What a field may name, and of which first names that is all that there may be: vars, steps, params."""

    names: Names
    certain: Collection[str]


def field_problems(
    space: Space, declared: Declared, path: FieldPath, field: TemplateField, known: Known
) -> Iterator[Diagnostic]:
    """Yield what is wrong with a field: each expression that cannot be read, each name that is not known."""
    whole = check_condition(field.text) if field.kind is FieldKind.CONDITION else None
    found = list(problems(field.text)) or ([whole] if whole else [])
    faults: dict[tuple[str, str], TemplateProblem | Use] = {}  # each once, where it stands first
    for problem in found:
        faults.setdefault(("bad-template", problem.sentence), problem)
    for use in uses(field.text):
        unknown = _unknown(space, use, known.names)
        open_ended = use.path[0] in {"vars", "steps", "params"} and use.path[0] not in known.certain
        if unknown is not None and not open_ended:
            faults.setdefault(("unknown-name", unknown), use)
    for number, ((code, message), at) in enumerate(faults.items()):
        piece = Piece.of(field.text, at.offset, at.length) if number < PLACED_MAX else None
        yield space.error(declared, path, code, message, piece=piece)
    if field.path[:1] == ("env",) and len(field.text.encode()) > ENV_BYTES_MAX:
        message = f"an environment value holds at most {ENV_BYTES_MAX:,} bytes, for Linux passes no more"
        yield space.error(declared, path, "too-long", message, "put it into a file")


def _unknown(space: Space, use: Use, names: Names) -> str | None:
    """Say what is wrong with a name; where many were told of, without looking for what is like it."""
    root, *rest = use.path
    if root == "vars" and ".".join(rest) in names.variables:
        return None
    steps = None if names.steps is None else set(rest[:1]).intersection(names.steps)
    unknown = name_problem(use, replace(names, variables=(), steps=steps))
    if unknown is None or not space.may_compare(len(names.variables) + len(names.steps or ())):
        return unknown
    return name_problem(use, names)


def strays(space: Space) -> Iterator[Diagnostic]:
    """Yield an error for each text with an expression in a field that is no template: it would stay as it is."""
    for declared in space.declared:
        if "${{" not in declared.spec:
            continue
        templates = set(_template_paths(space, declared))
        for path, text in _texts(json.loads(declared.spec), ("spec",)):
            free = path[1] == "variables" or path in templates or "description" in path or path[-1] == "default"
            if is_template(text) and not free and not space.open_at(declared, path):
                message = "this field is not a template: ${{ … }} would stay as it is written"
                help_text = "write the value itself; what may be a template stands in the docs on templates"
                yield space.error(declared, path, "not-a-template", message, help_text)


def _template_paths(space: Space, declared: Declared) -> Iterator[FieldPath]:
    match declared.address.kind:
        case "Project":
            steps = space.spec(declared, ProjectSpec).process
        case "Runbook":
            steps = space.spec(declared, RunbookSpec).process
        case "StepTemplate":
            for action in readings(space.spec(declared, StepTemplateSpec).action):
                yield from (("spec", "action", *field.path) for field in template_fields(action))
            return
        case "ExecutionLocation":
            yield ("spec", "container", "image")
            return
        case _:
            return
    for index, step in enumerate(steps):
        for reading in readings(step):
            yield from (("spec", "process", index, *field.path) for field in template_fields(reading))


def _texts(value: Any, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for name, inside in value.items():
                yield from _texts(inside, (*path, name))
        case list():
            for index, inside in enumerate(value):
                yield from _texts(inside, (*path, index))
