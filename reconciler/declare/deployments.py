"""Check deployments: one for each slot, allowed where they go, and no cycle in what they wait for."""

import json
from collections.abc import Iterator, Mapping

from reconciler.declare.partial import is_stand_in
from reconciler.declare.space import STEP_KEYS, FieldPath, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity
from reconciler.model.live import Slot
from reconciler.model.spec import Address
from reconciler.model.work import DeploymentSpec, ProjectSpec


def deployment_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of every declared deployment."""
    slots: dict[Slot, Declared] = {}
    for declared in space.of_kind("Deployment"):
        spec = space.spec(declared, DeploymentSpec)
        if not space.open_at(declared, ("spec", "project"), ("spec", "environment"), ("spec", "tenants")):
            yield from _second_on_slot(space, declared, spec, slots)
        if not space.open_at(declared, ("spec", "environment")):
            yield from _not_allowed(space, declared, spec)
            yield from _tenants(space, declared, spec)
        yield from _process(space, declared, spec)
    yield from _cycles(space)
    yield from _runs(space)


def _second_on_slot(
    space: Space, declared: Declared, spec: DeploymentSpec, slots: dict[Slot, Declared]
) -> Iterator[Diagnostic]:
    tenants: list[str | None] = [*spec.tenants]
    for tenant in tenants or [None]:
        slot = Slot(spec.project, spec.environment, tenant)
        first = slots.setdefault(slot, declared)
        if first.address != declared.address:
            yield Diagnostic(
                space.locate(declared, ("spec", "project")),
                Severity.ERROR,
                "duplicate-slot",
                f"{declared.address} and {first.address} both deploy {slot}",
                "declare one deployment for each project, environment and tenant",
                (Related(space.locate(first, ("spec", "project")), f"{first.address} deploys it first"),),
            )


def _not_allowed(space: Space, declared: Declared, spec: DeploymentSpec) -> Iterator[Diagnostic]:
    project = space.objects.get(Address("Project", spec.project))
    if project is None or space.open_at(project, ("spec", "environments")):
        return
    allowed = json.loads(project.spec).get("environments")
    if allowed is not None and spec.environment not in allowed and _is_declared(space, spec.environment):
        yield space.error(
            declared,
            ("spec", "environment"),
            "environment-not-allowed",
            f"Project/{spec.project} is not deployed to {spec.environment}, only to {', '.join(allowed)}",
        )


def _is_declared(space: Space, environment: str) -> bool:
    """Say whether an environment is there; one that is not is told of already."""
    return Address("Environment", environment) in space.objects


def _tenants(space: Space, declared: Declared, spec: DeploymentSpec) -> Iterator[Diagnostic]:
    if Address("Project", spec.project) not in space.objects or not _is_declared(space, spec.environment):
        return
    for index, name in enumerate(spec.tenants):
        tenant = space.objects.get(Address("Tenant", name))
        if tenant is None or space.open_at(tenant, ("spec", "projects")):
            continue
        taken = json.loads(tenant.spec).get("projects", {}).get(spec.project, [])
        if spec.environment not in taken:
            yield space.error(
                declared,
                ("spec", "tenants", index),
                "tenant-not-connected",
                f"Tenant/{name} does not take Project/{spec.project} in {spec.environment}",
                f"add {spec.project}: [{spec.environment}] to the tenant's projects",
            )


def _process(space: Space, declared: Declared, spec: DeploymentSpec) -> Iterator[Diagnostic]:
    found = space.objects.get(Address("Project", spec.project))
    if found is None:
        return
    process = space.spec(found, ProjectSpec).process
    steps = {step.key: step for step in process}
    certain = not space.lacks(found, *STEP_KEYS)
    for index, key in enumerate(spec.skip_steps):
        if key not in steps and certain and not is_stand_in(key):
            message = f'Project/{spec.project} has no step "{key}"{space.suggestion(key, steps)}'
            yield space.error(declared, ("spec", "skipSteps", index), "unknown-step", message)
        elif key in steps and steps[key].required:
            message = f'the step "{steps[key].name}" is required and cannot be skipped'
            yield space.error(declared, ("spec", "skipSteps", index), "required-step", message)
    for package in spec.packages:
        pinned = next(
            (use for step in process for use in step.packages if use.version and _means(package, step.key, use.id)),
            None,
        )
        if pinned is not None:
            message = f"a step of Project/{spec.project} pins {pinned.id} at {pinned.version}; a deployment cannot override that"
            yield space.error(declared, ("spec", "packages", package), "pinned-package", message)


def _means(package: str, step: str, package_id: str) -> bool:
    return package in {package_id, f"{step}/{package_id}"}


def _cycles(space: Space) -> Iterator[Diagnostic]:
    """Name each cycle of `after` once, at the deployment whose name comes first."""
    waits = {
        declared.address.name: [item.deployment for item in space.spec(declared, DeploymentSpec).waits_for()]
        for declared in space.of_kind("Deployment")
    }
    settled: set[str] = set()
    for start in sorted(waits):
        cycle = _cycle_from(start, waits, settled)
        if cycle:
            declared = space.objects[Address("Deployment", start)]
            yield space.error(
                declared, ("spec", "after"), "cycle", f"deployments wait for each other: {' → '.join(cycle)}"
            )


def _cycle_from(start: str, waits: Mapping[str, list[str]], settled: set[str]) -> list[str]:
    """Return the cycle through `start`, or nothing; what has been walked is settled and walked no more."""
    trail: list[str] = []
    stack: list[tuple[str, int]] = [(start, 0)]
    while stack:
        name, depth = stack.pop()
        del trail[depth:]
        if name in trail:
            settled.update(trail)
            return [*trail[trail.index(name) :], name]
        if name in settled:
            continue
        trail.append(name)
        following = waits.get(name, [])
        stack.extend((other, len(trail)) for other in following)
        if not following:
            settled.add(name)
    settled.add(start)
    return []


def _runs(space: Space) -> Iterator[Diagnostic]:
    """Check that runbooks run where they may."""
    for kind in ("RunbookRun", "Schedule"):
        for declared in space.of_kind(kind):
            spec = json.loads(declared.spec)
            book = space.objects.get(Address("Runbook", spec.get("runbook", "")))
            allowed = json.loads(book.spec).get("environments") if book else None
            if book is None or allowed is None or space.open_at(book, ("spec", "environments")):
                continue
            wanted: list[tuple[FieldPath, str]] = (
                [(("environment",), spec["environment"])] if "environment" in spec else []
            )
            wanted += [(("environments", index), name) for index, name in enumerate(spec.get("environments", []))]
            for path, name in wanted:
                if name not in allowed and _is_declared(space, name):
                    message = f"{book.address} does not run in {name}, only in {', '.join(allowed)}"
                    yield space.error(declared, ("spec", *path), "environment-not-allowed", message)
