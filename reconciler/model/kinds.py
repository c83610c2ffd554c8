"""The table of kinds: what each one's spec is, and which other objects a spec names."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from reconciler.model import infrastructure, organisation, space, work
from reconciler.model.spec import Address, Ref, Reference, Spec

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


def references(spec: BaseModel) -> Iterator[Reference]:
    """Yield every use of another object in `spec`, with the path of the field in YAML's names."""
    for name, field in type(spec).model_fields.items():
        path = (field.alias or name,)
        marks = [mark for mark in field.metadata if isinstance(mark, Ref)]
        yield from _in_value(getattr(spec, name), field.annotation, marks, path)


def _in_value(value: Any, annotation: Any, marks: list[Ref], path: tuple[str | int, ...]) -> Iterator[Reference]:
    if isinstance(value, BaseModel):
        yield from (Reference(path + found.path, found.target) for found in references(value))
    elif isinstance(value, str):
        for mark in marks or _marks(annotation):
            yield Reference(path, Address(mark.kind, value))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _in_value(item, annotation, marks, (*path, index))
    elif isinstance(value, dict):
        yield from _in_mapping(value, annotation, path)


def _in_mapping(value: dict[str, Any], annotation: Any, path: tuple[str | int, ...]) -> Iterator[Reference]:
    arguments = get_args(annotation)
    of_keys, of_values = arguments if len(arguments) == 2 else (None, None)
    for key, item in value.items():
        yield from _in_value(key, of_keys, [], (*path, key))
        yield from _in_value(item, of_values, [], (*path, key))


def _marks(annotation: Any) -> list[Ref]:
    """Find the marks of an annotation, through unions, tuples and nested Annotated."""
    found = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Ref)]
    if found:
        return found
    for argument in get_args(annotation):
        found += _marks(argument)
    return found
