"""Gather what a task pins: its deployment, process, templates, variables, and its script files as blobs."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from reconciler.model.desired import DesiredState
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec, StepTemplateSpec
from reconciler.plan.changes import Run
from reconciler.store.blobs import put_blob, read_blob

ReadFile = Callable[[str], bytes]


def pin_of(run: Run, desired: DesiredState, root: Path, read: ReadFile, blobs: Path) -> Pinned:
    """Return what the task of `run` pins; every script file is a durable blob when this returns."""
    objects = desired.objects
    project = ProjectSpec.parse(objects[Address("Project", run.slot.project)].spec)
    tenant = run.slot.tenant
    templates = _templates(project, desired)
    return Pinned(
        space=desired.name,
        deployment_name=run.deployment,
        deployment=DeploymentSpec.parse(objects[Address("Deployment", run.deployment)].spec),
        tenant_name=tenant,
        tenant=TenantSpec.parse(objects[Address("Tenant", tenant)].spec) if tenant else None,
        project=project,
        variable_sets={
            name: VariableSetSpec.parse(objects[Address("VariableSet", name)].spec) for name in project.variable_sets
        },
        locations={
            name: ExecutionLocationSpec.parse(objects[Address("ExecutionLocation", name)].spec)
            for name in sorted({step.location for step in project.process if isinstance(step.location, str)})
        },
        templates=templates,
        files={file: _keep(read(file), blobs) for file in script_files(project, templates)},
        root=str(root),
    )


def files_of_runs(runs: Iterable[Run], desired: DesiredState) -> list[str]:
    """Return the script files that the tasks of `runs` pin, in order."""
    found: set[str] = set()
    for name in {run.slot.project for run in runs}:
        project = ProjectSpec.parse(desired.objects[Address("Project", name)].spec)
        found.update(script_files(project, _templates(project, desired)))
    return sorted(found)


def script_files(project: ProjectSpec, templates: Mapping[str, StepTemplateSpec]) -> list[str]:
    """Return the script files of a process, in order."""
    actions = [step.action for step in project.process] + [spec.action.action for spec in templates.values()]
    return sorted(set(_script_files(actions)))


def _templates(project: ProjectSpec, desired: DesiredState) -> dict[str, StepTemplateSpec]:
    return {
        name: StepTemplateSpec.parse(desired.objects[Address("StepTemplate", name)].spec)
        for name in sorted(set(_template_names(project)))
    }


def scripts_of(pinned: Pinned, blobs: Path) -> dict[str, bytes]:
    """Return the script files of a task by their digests, for the nodes that may take it over."""
    return {digest: read_blob(blobs, digest) for digest in sorted(set(pinned.files.values()))}


def _template_names(project: ProjectSpec) -> Iterator[str]:
    for step in project.process:
        key, inputs = step.action
        if key == "template" and isinstance(inputs, dict):
            yield str(inputs["name"])


def _script_files(actions: list[tuple[str, JsonValue]]) -> Iterator[str]:
    for key, inputs in actions:
        if key == "script" and isinstance(inputs, dict) and "file" in inputs:
            yield str(inputs["file"])


def _keep(data: bytes, blobs: Path) -> str:
    digest = hashlib.sha256(data).hexdigest()
    put_blob(blobs, digest, data)
    return digest
