"""The step type `manual`: a person is asked, and the task waits for the answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Name, Text
from reconciler.model.work import Step
from reconciler.steps.jobs import ManualJob
from reconciler.steps.step_type import Ground, InputPath

DAYS = 7
"""A person is waited for so long, where the step has no `timeout`."""


class ManualInputs(Spec):
    """What a person is asked, and who."""

    instructions: Text = Field(description="What to look at and decide; a template.")
    teams: tuple[Annotated[Name, Ref("Team")], ...] = Field((), description="Who may answer; none, anybody.")
    block_concurrent: bool = Field(False, description="Do other tasks of the same slot wait meanwhile?")


class ManualStep:
    """Renders a question to a job."""

    inputs = ManualInputs
    leased = False
    pointless: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("location", "requires", "selector", "spread", "isolation", "maxParallelism", "onDisconnect"),
            "it runs on no worker",
        ),
        **dict.fromkeys(("env", "arguments", "artifacts", "packages", "outputLimit", "limits"), "it runs no script"),
        "mutex": "it holds nothing while it waits",
        "retry": "what a person has answered is not asked again",
        "guidedFailure": "a person has decided already",
    }

    def templates(self, inputs: ManualInputs) -> Iterator[tuple[InputPath, str]]:
        """Yield the instructions."""
        yield ("instructions",), inputs.instructions

    def render(self, inputs: ManualInputs, ground: Ground) -> ManualJob:
        """Return the question."""
        return ManualJob(ground.text(inputs.instructions), inputs.teams, inputs.block_concurrent)


def answered_within(step: Step) -> float:
    """Return the seconds for which a manual step waits for its answer."""
    return step.timeout.seconds if step.timeout is not None else DAYS * 86_400.0


def unanswered(step: Step, teams: Sequence[str]) -> str:
    """Say that none of those who were asked has answered in time: of these teams, or of none, then anybody."""
    whom = f" of the team{'s' if len(teams) > 1 else ''} {', '.join(teams)}" if teams else ""
    return f"nobody{whom} answered for {step.timeout if step.timeout is not None else f'{DAYS} days'}"
