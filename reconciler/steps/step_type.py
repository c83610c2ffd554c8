"""What a step type is: a model for its inputs, and a pure function that renders them to a job."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from reconciler.model.spec import Spec
from reconciler.steps.jobs import Job
from reconciler.steps.templates import render
from reconciler.steps.values import Scope

Inputs = TypeVar("Inputs", bound=Spec)

InputPath = tuple[str | int, ...]
"""Where an input stands below its action key, in YAML's names."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What an action is rendered on: what its templates see, the texts of files, and the step's rendered fields."""

    scope: Scope
    files: Mapping[str, str] = field(repr=False)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    artifacts: tuple[str, ...] = ()

    def text(self, template: str) -> str:
        """Render an input that no sensitive value may reach; raises TemplateError."""
        return render(template, self.scope, sensitive_allowed=False).text


class StepType(Protocol[Inputs]):
    """One kind of action; it renders and does not run.

    Part of the conformance of each: `templates` yields every input that `render` renders, and no other.
    """

    @property
    def inputs(self) -> type[Inputs]:
        """The model of what people write under the action key."""

    @property
    def leased(self) -> bool:
        """Is it rendered when a worker is known?"""

    @property
    def pointless(self) -> Mapping[str, str]:
        """The fields of a step, in YAML's names, that mean nothing for this kind, each with why."""

    def templates(self, inputs: Inputs) -> Iterator[tuple[InputPath, str]]:
        """Yield the inputs that may hold templates."""

    def render(self, inputs: Inputs, ground: Ground) -> Job:
        """Return the job; raises StepError, in a sentence without values."""
