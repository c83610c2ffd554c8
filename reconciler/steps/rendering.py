"""Steps become jobs: every template of a step is rendered, and sensitive values reach its environment alone."""

from collections.abc import Mapping

from reconciler.model.work import Step
from reconciler.steps.errors import StepError
from reconciler.steps.expansion import Expanded, expand, parameters_of
from reconciler.steps.jobs import Job
from reconciler.steps.scope import with_parameters
from reconciler.steps.step_type import Ground
from reconciler.steps.table import STEP_TYPES, inputs_of
from reconciler.steps.templates import Rendered, render
from reconciler.steps.values import Scope

ENVIRONMENT_VALUE_MAX = 127 * 1024  # bytes; Linux refuses to start a program with `NAME=value` of 128 KiB or more


def render_step(step: Step | Expanded, scope: Scope, files: Mapping[str, str]) -> Job:
    """Return the job of a step; `files` holds the texts of the script files that steps name, by their paths.

    Raises StepError (TemplateError where it is an expression), in a sentence that holds no value.
    """
    expanded = step if isinstance(step, Expanded) else expand(step, {})
    own = expanded.step
    environment = {name: _environment_value(name, text, scope) for name, text in own.env.items()}
    inner = scope
    if expanded.from_template:
        inner = with_parameters(scope, parameters_of(expanded, scope))
        shared = {name: _environment_value(name, text, inner) for name, text in expanded.action.env.items()}
        environment = {**shared, **environment}
    ground = Ground(
        scope=inner,
        files=files,
        arguments=tuple(_argument(number, text, scope) for number, text in enumerate(own.arguments, 1)),
        environment={name: value.text for name, value in environment.items() if not value.sensitive},
        secret_environment={name: value.text for name, value in environment.items() if value.sensitive},
        artifacts=own.artifacts,
    )
    key, inputs = inputs_of(expanded.action)
    return STEP_TYPES[key].render(inputs, ground)


def _environment_value(name: str, text: str, scope: Scope) -> Rendered:
    if "=" in name or "\0" in name:
        raise StepError(f'env holds the name "{name}", which no environment can hold')
    value = render(text, scope, sensitive_allowed=True)
    size = len(value.text.encode("utf-8", "surrogatepass"))
    if size > ENVIRONMENT_VALUE_MAX:
        limit = f"an environment value holds at most {ENVIRONMENT_VALUE_MAX // 1024} KiB"
        raise StepError(f"env.{name} has {size} bytes; {limit}, so pass it in a file")
    if "\0" in value.text:
        raise StepError(f"env.{name} holds a NUL character, which no environment can hold")
    return value


def _argument(number: int, text: str, scope: Scope) -> str:
    value = render(text, scope, sensitive_allowed=False).text
    if "\0" in value:
        raise StepError(f"argument {number} holds a NUL character, which no argument can hold")
    return value


def mutex_name(text: str, scope: Scope) -> str:
    """Return the name of a step's mutex; raises StepError."""
    name = render(text, scope, sensitive_allowed=False).text.strip()
    if not name or not name.isprintable():
        raise StepError("the name of its mutex is empty or holds what cannot be printed")
    return name
