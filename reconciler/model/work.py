"""What is done: projects, steps, templates, runbooks, schedules, deployments."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, StringConstraints, Tag

from reconciler.model.infrastructure import Every, ExecutionLocationSpec, Limits
from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Condition, Duration, Label, Name, Requirement, Size, Text, slug
from reconciler.model.text import Tag as TenantTag
from reconciler.model.variables import Variable

StepName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^/\x00-\x1f]+$")]
"""What people call a step; it holds no slash."""


class EnvironmentFilter(Spec):
    """Which environments a step runs in."""

    only: tuple[Annotated[Name, Ref("Environment")], ...] = Field((), description="Only in these.")
    except_: tuple[Annotated[Name, Ref("Environment")], ...] = Field(
        (), alias="except", description="In all but these."
    )


class Retry(Spec):
    """How often a failing step is tried."""

    attempts: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Tries, the first included.")
    backoff: Duration = Field(Duration("15s"), description="Between tries.")
    on_worker_lost: bool = Field(False, description="May a lost attempt be repeated elsewhere?")


class Mutex(Spec):
    """A named lock that serialises steps across tasks."""

    name: Text = Field(description="Its name.")
    scope: Literal["machine", "pool", "space"] = Field("space", description="How far the name reaches.")


class PackageUse(Spec):
    """A package that a step acquires."""

    id: Text = Field(description="The package.")
    feed: Annotated[Name, Ref("PackageFeed")] = Field(description="Where it comes from.")
    version: Text | None = Field(None, description="Its version; absent, the deployment chooses.")


class OutputRule(Spec):
    """What happens to a step that prints too much."""

    size: Size = Field(description="As much as this is kept.")
    then: Literal["truncate", "kill"] = Field("truncate", description="What happens to the rest.")


def _name_or_inline(value: object) -> str:
    return "name" if isinstance(value, str) else "inline"


Location = Annotated[
    Annotated[Name, Ref("ExecutionLocation"), Tag("name")] | Annotated[ExecutionLocationSpec, Tag("inline")],
    Discriminator(_name_or_inline),
]
"""An ExecutionLocation by name, or one written inline."""


class Acting(Spec):
    """Something with exactly one action key, kept opaque here; the table of step types knows its inputs."""

    model_config = ConfigDict(extra="allow")

    env: dict[Label, Text] = Field({}, description="Environment variables; the only place for sensitive values.")

    @property
    def action(self) -> tuple[str, JsonValue]:
        """Return the action's key and its inputs as JSON; a validated thing has exactly one."""
        extra: dict[str, Any] = self.model_extra or {}
        ((key, inputs),) = extra.items()
        return key, inputs


class Step(Acting):
    """One action of a process, and when, where and how it runs."""

    name: StepName = Field(description="What people call it; unique in the process.")
    id: Name | None = Field(None, description="What templates and addresses call it; default: the slug of the name.")
    location: Location | None = Field(None, description="Where it runs; absent, the default pool.")
    environments: EnvironmentFilter = Field(
        EnvironmentFilter.model_construct(), description="Which environments it runs in."
    )
    tenant_tags: tuple[TenantTag, ...] = Field((), description="Only for tenants that bear one of these tags.")
    start: Literal["afterPrevious", "withPrevious"] = Field(
        "afterPrevious", description="After or beside the one before."
    )
    condition: Condition = Field("success", description="success, failure, always or an expression.")
    required: bool = Field(False, description="A deployment cannot skip it.")
    disabled: bool = Field(False, description="Shown as skipped.")
    timeout: Duration | None = Field(
        None,
        description="Connecting and container start included; of a manual step, for the answer. Absent: none, and 7 days.",
    )
    retry: Retry = Field(Retry.model_construct(), description="How often a failing step is tried.")
    arguments: tuple[Text, ...] = Field((), description="Arguments of the script.")
    artifacts: tuple[Text, ...] = Field((), description="Glob patterns of files to collect, in the working directory.")
    packages: tuple[PackageUse, ...] = Field((), description="Packages that it acquires; the order matters.")
    requires: dict[Label, Requirement] = Field({}, description="Capabilities that its worker must have, and which.")
    selector: dict[Label, Text] = Field({}, description="Labels that the worker must bear.")
    spread: Label | None = Field(None, description="A label across whose values invocations are spread.")
    isolation: Literal["shared", "exclusive"] | None = Field(
        None, description="May other scripts run beside it on the machine?"
    )
    mutex: Mutex | None = Field(None, description="A named lock across tasks and machines.")
    max_parallelism: Annotated[int, Field(ge=1)] = Field(10, description="Targets or invocations at a time.")
    guided_failure: bool | None = Field(
        None, description="Pause for a person when it fails; absent, as the environment says."
    )
    on_disconnect: Literal["continue", "stop", "hold"] = Field(
        "continue", description="What the agent does without a server."
    )
    output_limit: OutputRule | None = Field(None, description="What happens when it prints too much.")
    limits: Limits = Field(Limits.model_construct(), description="What its script may use; the worker may allow less.")

    @property
    def key(self) -> str:
        """The id that templates, addresses and records use."""
        return self.id or slug(self.name)


class ProjectSpec(Spec):
    """What is released: a process and its variables."""

    description: Text = Field("", description="What it is.")
    environments: tuple[Annotated[Name, Ref("Environment")], ...] | None = Field(
        None, description="Where it may be deployed; absent, everywhere."
    )
    variable_sets: tuple[Annotated[Name, Ref("VariableSet")], ...] = Field(
        (), description="Shared sets; its own variables win."
    )
    variables: tuple[Variable, ...] = Field((), description="Its variables.")
    process: Annotated[tuple[Step, ...], Field(min_length=1)] = Field(description="Its steps, in order.")
    max_parallel_steps: Annotated[int, Field(ge=1)] = Field(10, description="Steps of one task that run at a time.")
    concurrency_tag: Text | None = Field(
        None, description="Tasks with one tag never overlap; default project, environment, tenant."
    )


class Parameter(Spec):
    """An input of a step template."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="As templates name it."
    )
    type: Literal["string", "number", "boolean", "choice", "sensitive"] = Field("string", description="What it takes.")
    options: tuple[Text, ...] = Field((), description="The choices, with type choice.")
    default: Text | None = Field(None, description="Absent, it is required.")
    description: Text = Field("", description="What it is for.")


class StepTemplateSpec(Spec):
    """An action that several steps share."""

    parameters: tuple[Parameter, ...] = Field((), description="Its inputs.")
    action: Acting = Field(description="Exactly one action key, and env.")


class RunbookSpec(Spec):
    """A process without a release."""

    project: Annotated[Name, Ref("Project")] = Field(description="The project whose variables it sees.")
    environments: tuple[Annotated[Name, Ref("Environment")], ...] | None = Field(None, description="Where it may run.")
    process: Annotated[tuple[Step, ...], Field(min_length=1)] = Field(description="Its steps, in order.")


class RunbookRunSpec(Spec):
    """A wish that a runbook has run; once per digest of this spec."""

    runbook: Annotated[Name, Ref("Runbook")] = Field(description="The runbook.")
    environment: Annotated[Name, Ref("Environment")] = Field(description="Where.")
    tenant: Annotated[Name, Ref("Tenant")] | None = Field(None, description="For whom.")
    variables: dict[str, Text] = Field({}, description="Values that beat every scope.")
    rerun: Text | None = Field(None, description="Any text; changing it runs it again.")


class ScheduleSpec(Spec):
    """When a runbook runs by itself."""

    runbook: Annotated[Name, Ref("Runbook")] = Field(description="The runbook.")
    environments: Annotated[tuple[Annotated[Name, Ref("Environment")], ...], Field(min_length=1)] = Field(
        description="Where."
    )
    schedule: Every = Field(description="When.")
    concurrency_policy: Annotated[str, StringConstraints(pattern=r"^(forbid|replace|queue\([1-9][0-9]{0,2}\))$")] = (
        Field("forbid", description="forbid, replace or queue(n).")
    )
    start_deadline: Duration | None = Field(None, description="How late a run may start.")


class AfterDeployment(Spec):
    """Another deployment that must have succeeded first."""

    deployment: Annotated[Name, Ref("Deployment")] = Field(description="The other one.")
    same_release: bool = Field(False, description="At this release.")
    soak: Duration | None = Field(None, description="This long ago.")


def _after_name_or_inline(value: object) -> str:
    return "name" if isinstance(value, str) else "inline"


After = Annotated[
    Annotated[Name, Ref("Deployment"), Tag("name")] | Annotated[AfterDeployment, Tag("inline")],
    Discriminator(_after_name_or_inline),
]


class DeploymentSpec(Spec):
    """A wish about state: project P at release R in environment E, for these tenants."""

    project: Annotated[Name, Ref("Project")] = Field(description="The project.")
    release: Annotated[Text, StringConstraints(min_length=1, max_length=200)] = Field(description="The release.")
    environment: Annotated[Name, Ref("Environment")] = Field(description="Where.")
    tenants: tuple[Annotated[Name, Ref("Tenant")], ...] = Field((), description="For whom; absent, untenanted.")
    packages: dict[str, Text] = Field({}, description="Versions by package id, or by `step/id`.")
    variables: dict[str, Text] = Field({}, description="Values that beat every scope.")
    skip_steps: tuple[Text, ...] = Field((), description="Ids of steps to leave out.")
    after: tuple[After, ...] = Field((), description="Deployments that must have succeeded first.")
    priority: int = Field(0, description="Higher goes first in the queue.")
    supersede: Literal["queued", "none"] = Field("queued", description="Does an edit replace a task that waits?")
    rerun: Text | None = Field(None, description="Any text; changing it runs it again.")

    def waits_for(self) -> tuple[AfterDeployment, ...]:
        """Return `after` with every name written out."""
        return tuple(AfterDeployment(deployment=item) if isinstance(item, str) else item for item in self.after)
