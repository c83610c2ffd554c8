"""Steps that use a StepTemplate: the template's action in the step's place, and its parameters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.work import Acting, Parameter, Step, StepTemplateSpec
from reconciler.steps.errors import StepError
from reconciler.steps.step_type import InputPath
from reconciler.steps.table import inputs_of
from reconciler.steps.template import TemplateInputs
from reconciler.steps.templates import is_template, render
from reconciler.steps.values import Known, Scope

NOT_SHARED: Mapping[str, str] = {"group": "a group", "manual": "a manual step", "template": "a template"}
"""Action keys that no step template has, in words."""

NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)  # what a 64-bit number holds, without exponents


@dataclass(frozen=True, slots=True)
class Expanded:
    """A step and the action that it comes to: its own, or its template's with texts for all its parameters."""

    step: Step
    action: Acting
    parameters: tuple[Parameter, ...] = ()
    arguments: Mapping[str, str] | None = None

    @property
    def from_template(self) -> bool:
        """Does the action come from a StepTemplate, and so have an `env` and parameters of its own?"""
        return self.arguments is not None


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """What is wrong with a field below the `template` key, or below a StepTemplate's `parameters`."""

    path: InputPath
    sentence: str


def expand(step: Step, templates: Mapping[str, StepTemplateSpec]) -> Expanded:
    """Put a template's action in the place of a step that uses one; another step comes to itself.

    Raises StepError where the template is not at hand or its parameters do not fit.
    """
    if step.action[0] != "template":
        return Expanded(step, step)
    _, inputs = inputs_of(step)
    assert isinstance(inputs, TemplateInputs)
    if inputs.name not in templates:
        raise StepError(f"the step template {inputs.name} was not found when the task was queued")
    spec = templates[inputs.name]
    for problem in parameter_problems(inputs, spec):
        raise StepError(problem.sentence)
    if spec.action.action[0] in NOT_SHARED:
        kind = NOT_SHARED[spec.action.action[0]]
        raise StepError(f"the step template {inputs.name} is itself {kind}; give it another action")
    defaults = {parameter.name: parameter.default for parameter in spec.parameters if parameter.default is not None}
    return Expanded(step, spec.action, spec.parameters, {**defaults, **inputs.with_})


def parameters_of(expanded: Expanded, scope: Scope) -> dict[str, Known]:
    """Return the values of a template's parameters, rendered in the step's scope and typed.

    Raises TemplateError, and StepError where a rendered value does not fit its type; neither holds the value.
    """
    arguments = expanded.arguments or {}
    return {parameter.name: _value(parameter, arguments[parameter.name], scope) for parameter in expanded.parameters}


def parameter_problems(inputs: TemplateInputs, spec: StepTemplateSpec) -> Iterator[ParameterProblem]:
    """Yield what is wrong with the parameters that a step gives, as far as it can be seen before rendering."""
    known = {parameter.name: parameter for parameter in spec.parameters}
    for name, text in inputs.with_.items():
        if name not in known:
            sentence = f'the step template {inputs.name} has no parameter "{name}"{did_you_mean(name, known)}'
            yield ParameterProblem(("with", name), sentence)
        elif misfit := _misfit(known[name], text):
            yield ParameterProblem(("with", name), misfit)
    for parameter in spec.parameters:
        if parameter.default is None and parameter.name not in inputs.with_:
            sentence = f'the step template {inputs.name} needs the parameter "{parameter.name}"'
            yield ParameterProblem(("with",) if inputs.with_ else (), sentence)


def declaration_problems(spec: StepTemplateSpec) -> Iterator[ParameterProblem]:
    """Yield what is wrong with a StepTemplate's own parameters."""
    seen: set[str] = set()
    for index, parameter in enumerate(spec.parameters):
        if parameter.name in seen:
            yield ParameterProblem((index, "name"), f'the parameter "{parameter.name}" is declared twice')
        seen.add(parameter.name)
        if (parameter.type == "choice") != bool(parameter.options):
            yield ParameterProblem((index,), "options belong to the type choice, and it needs some")
        elif parameter.default is not None and (misfit := _misfit(parameter, parameter.default)):
            yield ParameterProblem((index, "default"), misfit)


def _misfit(parameter: Parameter, text: str) -> str | None:
    """Say why a text that somebody wrote does not fit a parameter; what is a template is judged when it is rendered."""
    if is_template(text):
        return None
    if parameter.type == "sensitive":
        return f'the parameter "{parameter.name}" is sensitive; give it a variable, as in ${{{{ vars.Db.Password }}}}'
    return None if _typed(parameter, text) is not None else _expectation(parameter)


def _expectation(parameter: Parameter) -> str:
    expected = {
        "number": "is a number",
        "boolean": "is true or false",
        "choice": f"is one of {', '.join(parameter.options)}",
    }
    return f'the parameter "{parameter.name}" {expected[parameter.type]}'


def _value(parameter: Parameter, text: str, scope: Scope) -> Known:
    rendered = render(text, scope, sensitive_allowed=parameter.type == "sensitive")
    if parameter.type == "sensitive":
        return Known(rendered.text, rendered.secrets | {f"params.{parameter.name}"})
    value = _typed(parameter, rendered.text)
    if value is None:
        raise StepError(_expectation(parameter))
    return Known(value)


def _typed(parameter: Parameter, text: str) -> str | int | float | bool | None:
    """Return the value that a text is, or None where it does not fit."""
    match parameter.type:
        case "number":
            if not NUMBER.fullmatch(text):
                return None
            return float(text) if "." in text else int(text)
        case "boolean":
            return {"true": True, "false": False}.get(text)
        case "choice":
            return text if text in parameter.options else None
    return text
