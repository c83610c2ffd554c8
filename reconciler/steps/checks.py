"""What can be said of a step's templates before anything runs: where they stand, what they may name, what is risky."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.work import Acting, Step, StepTemplateSpec
from reconciler.steps.group import GroupInputs
from reconciler.steps.scope import ROOTS
from reconciler.steps.step_type import InputPath
from reconciler.steps.table import STEP_TYPES, inputs_of
from reconciler.steps.template import TemplateInputs
from reconciler.steps.templates import Hole, TemplateProblem, Use, parts
from reconciler.steps.values import Path, dotted


class FieldKind(StrEnum):
    """What a field with templates is: when it is rendered, and whether sensitive values may reach it."""

    TEXT = "text"
    """Rendered when the step has a worker."""

    SENSITIVE = "sensitive"
    """Rendered when the step has a worker; sensitive values may reach it."""

    EARLY = "early"
    """Rendered before the step has a worker."""

    CONDITION = "condition"
    """One expression, computed before the step has a worker."""

    @property
    def sensitive_allowed(self) -> bool:
        """May sensitive values reach the field?"""
        return self is FieldKind.SENSITIVE

    @property
    def leased(self) -> bool:
        """Is a worker known when the field is rendered?"""
        return self in {FieldKind.TEXT, FieldKind.SENSITIVE}


class TemplateField(NamedTuple):
    """A field that may hold a template: its path below the step in YAML's names, its text, and its kind."""

    path: InputPath
    text: str
    kind: FieldKind


def template_fields(step: Acting, templates: Mapping[str, StepTemplateSpec] | None = None) -> Iterator[TemplateField]:
    """Yield every field of a step, or of a StepTemplate's action, that may hold a template.

    `templates` tell which parameters are sensitive; of an unknown template any may be.
    """
    for name, text in step.env.items():
        yield TemplateField(("env", name), text, FieldKind.SENSITIVE)
    if isinstance(step, Step):
        yield from _step_fields(step)
    key, inputs = inputs_of(step)
    sensitive = _sensitive_parameters(inputs, templates or {}) if isinstance(inputs, TemplateInputs) else ()
    for path, text in STEP_TYPES[key].templates(inputs):
        kind = FieldKind.TEXT if STEP_TYPES[key].leased else FieldKind.EARLY
        yield TemplateField((key, *path), text, FieldKind.SENSITIVE if path[-1] in sensitive else kind)
    if isinstance(inputs, GroupInputs):
        for index, child in enumerate(inputs.steps):
            for field in template_fields(child, templates):
                yield field._replace(path=(key, "steps", index, *field.path))


def _step_fields(step: Step) -> Iterator[TemplateField]:
    for index, text in enumerate(step.arguments):
        yield TemplateField(("arguments", index), text, FieldKind.TEXT)
    if step.condition.startswith("${{"):
        yield TemplateField(("condition",), step.condition, FieldKind.CONDITION)
    if step.mutex is not None:
        yield TemplateField(("mutex", "name"), step.mutex.name, FieldKind.EARLY)
    if isinstance(step.location, ExecutionLocationSpec) and step.location.container is not None:
        yield TemplateField(("location", "container", "image"), step.location.container.image, FieldKind.EARLY)


def _sensitive_parameters(inputs: TemplateInputs, templates: Mapping[str, StepTemplateSpec]) -> Collection[str]:
    if inputs.name not in templates:
        return inputs.with_
    return {parameter.name for parameter in templates[inputs.name].parameters if parameter.type == "sensitive"}


@dataclass(frozen=True, slots=True)
class Names:
    """What a field may name: variables, parameters (None outside of a StepTemplate), ids and names of earlier steps.

    `steps` is None where that is not known, as in a StepTemplate. `leased`: is a worker known by then?
    """

    variables: Collection[str]
    steps: Collection[str] | None
    parameters: Collection[str] | None = None
    leased: bool = True


def name_problem(use: Use, names: Names) -> str | None:
    """Say why a name that a template uses cannot have a value, or None if it may; what is optional may be missing."""
    root, *rest = use.path
    if root not in ROOTS:
        return f"{root} is not known{did_you_mean(root, ROOTS)}"
    if root == "params" and names.parameters is None:
        return f"params is not known: {ROOTS[root].missing}"
    if root in {"attempt", "worker"} and not names.leased:
        return f"{root} is not known: {ROOTS[root].missing}"
    fields = ROOTS[root].fields
    if fields is not None:
        return _field_problem(use.path, fields)
    if use.optional or not rest:  # `vars[…]` with a computed name is judged when it is rendered
        return None
    if root == "steps":
        return _step_problem(use.path, names.steps)
    return _variable_problem(root, ".".join(rest), names.variables if root == "vars" else names.parameters or ())


def _field_problem(path: Path, fields: Collection[str]) -> str | None:
    if len(path) == 1 or (len(path) == 2 and path[1] in fields):
        return None
    return f"{dotted(path)} is not known; {path[0]} has {', '.join(sorted(fields))}"


def _variable_problem(root: str, name: str, known: Collection[str]) -> str | None:
    if name in known:
        return None
    if any(other.startswith(f"{name}.") for other in known):
        return f"{root}.{name} is a group of names; name one of them"
    above = next((other for other in known if name.startswith(f"{other}.")), None)
    if above is not None:
        return f"{root}.{above} is a text and has nothing below it"
    return f"{root}.{name} is not known{did_you_mean(name, known)}"


def _step_problem(path: Path, steps: Collection[str] | None) -> str | None:
    called = path[1]
    if steps is not None and called not in steps:
        return f'no earlier step is called "{called}"{did_you_mean(called, steps)}'
    match path[2:]:
        case () | ("status" | "name",) | ("output",) | ("output", _):
            return None
    return f"{dotted(path)} is not known; a step has output.<name>, status and name"


_SAFE_FILTERS = frozenset({"b64encode", "int", "length", "quote", "urlencode"})
"""Filters after which nothing is left that a shell could take for its own syntax."""

_QUOTED_BY = {"bash": "quote", "sh": "quote", "powershell": "quote('powershell')", "python": "tojson"}


def unquoted_interpolation(body: str, syntax: str) -> Iterator[TemplateProblem]:
    """Yield each expression of a script's body whose value the script's language could take for code."""
    advice = _QUOTED_BY[syntax]
    safe = _SAFE_FILTERS | {"tojson"} if syntax == "python" else _SAFE_FILTERS
    for part in parts(body):
        if isinstance(part, Hole):
            from reconciler.steps.syntax import mentions, outermost_filter

            if mentions(part.source) and outermost_filter(part.source) not in safe:
                sentence = f"a value put into a script may be taken for code; pass it in env, or write `| {advice}`"
                yield TemplateProblem(part.offset, part.length, sentence)


def circle_in(needs: Mapping[str, Collection[str]]) -> tuple[str, ...] | None:
    """Return the first circle of names of which each needs the next, beginning and ending with one name, or None."""
    done: set[str] = set()
    for start in needs:
        way: list[str] = []
        pending = [(start, iter(needs[start]))] if start not in done else []
        while pending:
            name, following = pending[-1]
            if not way or way[-1] != name:
                way.append(name)
            after = next((each for each in following if each in needs and each not in done), None)
            if after is None:
                done.add(name)
                way.pop()
                pending.pop()
            elif after in way:
                return (*way[way.index(after) :], after)
            else:
                pending.append((after, iter(needs[after])))
    return None
