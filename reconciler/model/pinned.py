"""What a task pins when it is queued: all that its steps will read, so that later commits do not change it."""

from pydantic import Field

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Spec
from reconciler.model.work import DeploymentSpec, ProjectSpec, StepTemplateSpec


class Pinned(Spec):
    """One deployment with its process, templates and variable references, complete without Git."""

    space: str = Field(description="The space's name.")
    deployment_name: str = Field(description="The deployment's name.")
    deployment: DeploymentSpec = Field(description="The deployment.")
    tenant_name: str | None = Field(None, description="For whom it runs, if for anyone.")
    tenant: TenantSpec | None = Field(None, description="The tenant's tags and variables.")
    project: ProjectSpec = Field(description="The process and the project's variables.")
    variable_sets: dict[str, VariableSetSpec] = Field({}, description="The shared sets that the project uses.")
    locations: dict[str, ExecutionLocationSpec] = Field({}, description="The locations that its steps name.")
    templates: dict[str, StepTemplateSpec] = Field({}, description="The templates that its steps name.")
    files: dict[str, str] = Field({}, description="The script files that its steps name, each with its digest.")
    root: str = Field("", description="The space's root directory, for secrets that are files of it.")
