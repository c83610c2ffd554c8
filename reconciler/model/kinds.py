"""The table of kinds: what each one's spec is."""

from collections.abc import Mapping

from reconciler.model import infrastructure, organisation, space, work
from reconciler.model.spec import Spec

KINDS: Mapping[str, type[Spec]] = {
    "Space": space.SpaceSpec,
    "Environment": organisation.EnvironmentSpec,
    "TagSet": organisation.TagSetSpec,
    "Team": organisation.TeamSpec,
    "Account": organisation.AccountSpec,
    "Certificate": organisation.CertificateSpec,
    "Proxy": organisation.ProxySpec,
    "PackageFeed": organisation.PackageFeedSpec,
    "VariableSet": organisation.VariableSetSpec,
    "MachinePolicy": infrastructure.MachinePolicySpec,
    "WorkerPool": infrastructure.WorkerPoolSpec,
    "Worker": infrastructure.WorkerSpec,
    "WorkerSet": infrastructure.WorkerSetSpec,
    "ExecutionLocation": infrastructure.ExecutionLocationSpec,
    "StepTemplate": work.StepTemplateSpec,
    "Project": work.ProjectSpec,
    "Tenant": organisation.TenantSpec,
    "DeploymentTarget": infrastructure.DeploymentTargetSpec,
    "Runbook": work.RunbookSpec,
    "RunbookRun": work.RunbookRunSpec,
    "Schedule": work.ScheduleSpec,
    "Deployment": work.DeploymentSpec,
}
"""Every kind, in the order of `order.ORDER`."""
