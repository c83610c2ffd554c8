"""The step type `manual`: a person is asked, and the task waits for the answer."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Name, Text
from reconciler.steps.jobs import ManualJob
from reconciler.steps.step_type import Ground, InputPath


class ManualInputs(Spec):
    """What a person is asked, and who."""

    instructions: Text = Field(description="What to look at and decide; a template.")
    teams: tuple[Annotated[Name, Ref("Team")], ...] = Field((), description="Who may answer; none, anybody.")
    block_concurrent: bool = Field(False, description="Do other tasks of the same slot wait meanwhile?")


class ManualStep:
    """Renders a question to a job."""

    inputs = ManualInputs
    leased = False

    def templates(self, inputs: ManualInputs) -> Iterator[tuple[InputPath, str]]:
        """Yield the instructions."""
        yield ("instructions",), inputs.instructions

    def render(self, inputs: ManualInputs, ground: Ground) -> ManualJob:
        """Return the question."""
        return ManualJob(ground.text(inputs.instructions), inputs.teams, inputs.block_concurrent)
