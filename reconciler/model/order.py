"""In which order kinds come to be and leave, known without their models."""

from collections.abc import Mapping

from reconciler.model.spec import Address

ORDER = (
    "Space",
    "Environment",
    "TagSet",
    "Team",
    "Account",
    "Certificate",
    "Proxy",
    "PackageFeed",
    "VariableSet",
    "MachinePolicy",
    "WorkerPool",
    "Worker",
    "WorkerSet",
    "ExecutionLocation",
    "StepTemplate",
    "Project",
    "Tenant",
    "DeploymentTarget",
    "Runbook",
    "RunbookRun",
    "Schedule",
    "Deployment",
)
"""Every kind after those that it names: creations follow it, removals go the other way."""

RANK: Mapping[str, int] = {kind: rank for rank, kind in enumerate(ORDER)}

IMPLICIT = frozenset({Address("WorkerPool", "default"), Address("MachinePolicy", "default")})
"""Objects that exist where none is declared as the default one."""
