"""The step type `group`: child steps, one after the other, on each target in turn; planned, not carried out yet."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, NoReturn

from pydantic import Field

from reconciler.model.spec import Spec
from reconciler.model.text import Text
from reconciler.model.work import Step
from reconciler.steps.errors import StepError
from reconciler.steps.step_type import Ground, InputPath


class GroupInputs(Spec):
    """Steps that run together on each matching target, a few targets at a time."""

    target_tags: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="On targets that bear one of these tags."
    )
    window_size: Annotated[int, Field(ge=1)] = Field(1, description="Targets at a time.")
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = Field(description="The steps, in order.")


class GroupStep:
    """Knows a group's inputs; its children are steps of their own and yield their own templates."""

    inputs = GroupInputs
    leased = True
    pointless: ClassVar[Mapping[str, str]] = {}

    def templates(self, inputs: GroupInputs) -> Iterator[tuple[InputPath, str]]:
        """Yield nothing: a group itself has no templates."""
        yield from ()

    def render(self, inputs: GroupInputs, ground: Ground) -> NoReturn:
        """Refuse: raises StepError."""
        raise StepError("rolling groups are not carried out yet")
