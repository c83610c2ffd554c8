"""The step type `script`: a text in bash, sh, Python or PowerShell, from the document or from a file."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.spec import Spec
from reconciler.model.text import Text
from reconciler.steps.errors import StepError
from reconciler.steps.jobs import ScriptJob
from reconciler.steps.step_type import Ground, InputPath

Syntax = Literal["bash", "sh", "python", "powershell"]

INTERPRETERS: Mapping[str, tuple[str, ...]] = {
    "bash": ("bash", "--noprofile", "--norc"),
    "sh": ("sh",),
    "python": ("python3", "-u"),
    "powershell": ("pwsh", "-NoProfile", "-NonInteractive", "-File"),
}
STRICT: Mapping[str, tuple[str, ...]] = {"bash": ("-eo", "pipefail"), "sh": ("-e",)}
"""Options that make errors stop; Python needs none, PowerShell takes them from the script."""

STOPS_IN_POWERSHELL = "$ErrorActionPreference = 'Stop'; "
ENDS_AS_IN_POWERSHELL = "\nif (Test-Path -LiteralPath variable:\\LASTEXITCODE) { exit $LASTEXITCODE }\n"
"""Put around a strict script, the former on its first line so that line numbers in errors stay right."""


class ScriptInputs(Spec):
    """A script, written here or in a file; exactly one of both."""

    syntax: Syntax = Field(description="The language.")
    file: Text | None = Field(None, description="A file, relative to the space's root; never a template.")
    body: Text | None = Field(None, description="The text itself; a template.")
    strict: bool = Field(True, description="Do errors stop the script?")

    @model_validator(mode="after")
    def _one_text(self) -> "ScriptInputs":
        if (self.file is None) == (self.body is None):
            raise PydanticCustomError("exactly-one", "a script has exactly one of file and body")
        if self.file is not None and not _stays_below(self.file):
            raise PydanticCustomError("bad-path", "a script's file is named relative to the space's root, without `..`")
        return self


def _stays_below(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "~")) and "\0" not in path and ".." not in path.split("/")


class ScriptStep:
    """Renders a script to a job."""

    inputs = ScriptInputs
    leased = True
    pointless: ClassVar[Mapping[str, str]] = {}

    def templates(self, inputs: ScriptInputs) -> Iterator[tuple[InputPath, str]]:
        """Yield the body."""
        if inputs.body is not None:
            yield ("body",), inputs.body

    def render(self, inputs: ScriptInputs, ground: Ground) -> ScriptJob:
        """Return the script's job; raises StepError where its file is not at hand."""
        return ScriptJob(
            language=inputs.syntax,
            interpreter=interpreter(inputs.syntax, strict=inputs.strict),
            script=_complete(_text(inputs, ground), inputs),
            arguments=ground.arguments,
            environment=ground.environment,
            secret_environment=ground.secret_environment,
            artifacts=ground.artifacts,
        )


def interpreter(syntax: str, *, strict: bool) -> tuple[str, ...]:
    """Return the program and the options that the script's file follows."""
    return INTERPRETERS[syntax] + (STRICT.get(syntax, ()) if strict else ())


def _text(inputs: ScriptInputs, ground: Ground) -> str:
    if inputs.body is not None:
        return ground.text(inputs.body)
    file = inputs.file or ""  # one of both is given
    if file not in ground.files:
        raise StepError(f"the script {file} was not found when the task was queued")
    return ground.files[file]


def _complete(text: str, inputs: ScriptInputs) -> str:
    if inputs.syntax != "powershell" or not inputs.strict:
        return text
    return STOPS_IN_POWERSHELL + text + ENDS_AS_IN_POWERSHELL
