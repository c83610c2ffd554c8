"""The step type `template`: the action of a StepTemplate, with parameters."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, NoReturn

from pydantic import Field

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Name, Text
from reconciler.steps.errors import StepError
from reconciler.steps.step_type import Ground, InputPath


class TemplateInputs(Spec):
    """Which StepTemplate, and what its parameters are."""

    name: Annotated[Name, Ref("StepTemplate")] = Field(description="The StepTemplate.")
    with_: dict[str, Text] = Field({}, alias="with", description="Its parameters; each value is a template.")


class TemplateStep:
    """Knows a template's inputs; `expansion` puts the template's own action in its place before it is rendered."""

    inputs = TemplateInputs
    leased = True
    pointless: ClassVar[Mapping[str, str]] = {}

    def templates(self, inputs: TemplateInputs) -> Iterator[tuple[InputPath, str]]:
        """Yield the parameters."""
        for name, text in inputs.with_.items():
            yield ("with", name), text

    def render(self, inputs: TemplateInputs, ground: Ground) -> NoReturn:
        """Refuse: raises StepError, for the template itself is not here."""
        raise StepError(f"the step template {inputs.name} was not found when the task was queued")
