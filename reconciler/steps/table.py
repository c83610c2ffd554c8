"""The table of step types: what each action key takes, and which keys are still to come."""

from collections.abc import Mapping
from typing import Any

from reconciler.model.spec import Spec, canonical_json
from reconciler.model.work import Acting
from reconciler.steps.group import GroupStep
from reconciler.steps.manual import ManualStep
from reconciler.steps.script import ScriptStep
from reconciler.steps.step_type import StepType
from reconciler.steps.template import TemplateStep

STEP_TYPES: Mapping[str, StepType[Any]] = {
    "script": ScriptStep(),
    "template": TemplateStep(),
    "manual": ManualStep(),
    "group": GroupStep(),
}
"""Every step type by its action key."""

FUTURE: frozenset[str] = frozenset(
    {
        "awsCli", "azureCli", "azureWebApp", "certificate", "cloudFormation", "databaseBackup", "deployRelease",
        "elasticBeanstalk", "email", "gcloud", "healthCheck", "helm", "http", "kubectl", "loadBalancer", "notify",
        "package", "runRunbook", "s3Upload", "sql", "terraform",
    }
)  # fmt: skip
"""Action keys that are named and not available yet."""


def inputs_of(acting: Acting) -> tuple[str, Spec]:
    """Return the action key of a validated step or template, and its inputs as their model."""
    key, inputs = acting.action
    return key, STEP_TYPES[key].inputs.parse(canonical_json(inputs))
