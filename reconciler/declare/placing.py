"""Check steps against declared machines: labels and capabilities that nobody has, shells, tags without targets.

What agents discover is not known here; only what contradicts the declarations is an error.
"""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reconciler.declare.space import FieldPath, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, RunbookSpec, Step
from reconciler.schedule.capabilities import unmet

POSIX_SHELLS = ("bash", "sh")


class _Machines(NamedTuple):
    """The declared machines; `certain` where there can be no others, `default` is the default pool."""

    members: Mapping[str, list[Declared]]
    certain: bool
    default: str
    tags: frozenset[str]
    all_tags: bool


def placing_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield errors for steps that no declared worker can take, and warnings for what is seldom meant."""
    machines = _machines(space)
    for declared in space.of_kind("Project"):
        yield from _of_process(space, declared, space.spec(declared, ProjectSpec).process, machines)
    for declared in space.of_kind("Runbook"):
        yield from _of_process(space, declared, space.spec(declared, RunbookSpec).process, machines)


def _machines(space: Space) -> _Machines:
    members: dict[str, list[Declared]] = {}
    for worker in space.of_kind("Worker"):
        for _, (kind, name) in worker.references:
            if kind == "WorkerPool":
                members.setdefault(name, []).append(worker)
    defaults = (pool.address.name for pool in space.of_kind("WorkerPool") if json.loads(pool.spec).get("default"))
    tags = {tag for target in space.of_kind("DeploymentTarget") for tag in json.loads(target.spec).get("tags", [])}
    certain = not space.any_lacks("Worker", ("spec", "pools", None), ("metadata", "labels"))
    known_default = not space.any_lacks("WorkerPool", ("spec", "default"))
    return _Machines(
        members,
        certain and known_default,
        next(defaults, "default"),
        frozenset(tags),
        not space.any_lacks("DeploymentTarget", ("spec", "tags", None)),
    )


def _of_process(space: Space, declared: Declared, steps: tuple[Step, ...], machines: _Machines) -> Iterator[Diagnostic]:
    for index, step in enumerate(steps):
        root: FieldPath = ("spec", "process", index)
        yield from _tags(space, declared, root, step, machines)
        if space.open_at(declared, (*root, "location"), (*root, "selector"), (*root, "script")):
            continue
        pool = _pool_of(space, step, machines)
        if pool is not None and machines.certain and machines.members.get(pool):
            workers = machines.members[pool]
            if step.selector:
                yield from _labels(space, declared, (*root, "selector"), step, workers)
            if not space.any_lacks("Worker", ("spec", "capabilities")):
                yield from _requirements(space, declared, root, step, workers)
            yield from _shells(space, declared, (*root, "script", "syntax"), step, workers)


def _pool_of(space: Space, step: Step, machines: _Machines) -> str | None:
    """Return the pool of a step, None where it depends on a variable or is not certain."""
    location = step.location
    if isinstance(location, str):
        named = space.objects.get(Address("ExecutionLocation", location))
        if named is None or space.open_at(named, ("spec", "runOn"), ("spec", "pool"), ("spec", "poolVariable")):
            return None
        location = space.spec(named, ExecutionLocationSpec)
    if "group" in (step.model_extra or {}) or "manual" in (step.model_extra or {}):
        return None
    if location is None or location.run_on == "server":
        return machines.default
    if location.run_on == "targets" or location.pool_variable is not None:
        return None
    pool = location.pool or machines.default
    found = space.objects.get(Address("WorkerPool", pool))
    dynamic = found is not None and ('"dynamic":' in found.spec or space.open_at(found, ("spec", "dynamic")))
    return None if dynamic else pool


def _labels(
    space: Space, declared: Declared, path: FieldPath, step: Step, workers: list[Declared]
) -> Iterator[Diagnostic]:
    """Refuse labels that every worker of the pool contradicts; a label that some just do not bear may be on its way."""
    wanted = dict(step.selector)
    borne = [_labels_of(worker) for worker in workers]
    if any(wanted.items() <= labels.items() for labels in borne):
        return
    shown = ", ".join(f"{name}={value}" for name, value in wanted.items())
    if all(any(labels.get(name, value) != value for name, value in wanted.items()) for labels in borne):
        message = f"every worker in the pool of this step bears other labels than {shown}"
        yield space.error(declared, path, "no-worker", message, "label a worker so, or ask for what one of them bears")
    else:
        message = f"no worker in the pool of this step bears {shown}: the step will wait and then fail"
        yield space.warning(declared, path, "no-label", message)


def _requirements(
    space: Space, declared: Declared, root: FieldPath, step: Step, workers: list[Declared]
) -> Iterator[Diagnostic]:
    """Refuse a requirement that the declared capabilities of every worker contradict; agents may find what is not declared."""
    required = list(_required(space, declared, root, step))
    known = [json.loads(worker.spec).get("capabilities", {}) for worker in workers] if required else []
    for path, name, wanted in required:
        found = [unmet(name, wanted, capabilities) if name in capabilities else None for capabilities in known]
        if all(found):
            message = f"no worker in the pool of this step can take it: {workers[0].address.name} {found[0]}"
            message += f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            help_ = f"require what one of them declares, or do not declare {name}: agents find what is there"
            yield space.error(declared, path, "no-worker", message, help_)


def _required(space: Space, declared: Declared, root: FieldPath, step: Step) -> Iterator[tuple[FieldPath, str, str]]:
    """Yield what a step and its location require: where that stands in the step, the capability, and what it must be."""
    if not space.open_at(declared, (*root, "requires")):
        for name, wanted in step.requires.items():
            yield (*root, "requires", name), name, wanted
    location, path = step.location, (*root, "location")
    if isinstance(location, ExecutionLocationSpec):
        for name, wanted in location.requires.items():
            yield (*path, "requires", name), name, wanted
    elif location is not None:
        named = space.objects.get(Address("ExecutionLocation", location))
        if named is not None and not space.open_at(named, ("spec", "requires")):
            for name, wanted in space.spec(named, ExecutionLocationSpec).requires.items():
                yield path, name, wanted


def _labels_of(worker: Declared) -> Mapping[str, str]:
    labels: Mapping[str, str] = json.loads(worker.metadata).get("labels", {})
    return labels


def _shells(
    space: Space, declared: Declared, path: FieldPath, step: Step, workers: list[Declared]
) -> Iterator[Diagnostic]:
    script = (step.model_extra or {}).get("script")
    if not isinstance(script, dict) or script.get("syntax") not in POSIX_SHELLS:
        return
    wanted = {**step.selector, "os": "windows"}
    if step.selector.get("os", "windows") == "windows":
        marked = (worker for worker in workers if '"os":"windows"' in worker.metadata)
        found = next((worker for worker in marked if wanted.items() <= _labels_of(worker).items()), None)
        if found is not None:
            message = f"a {script['syntax']} script may come to {found.address}, which is labelled os=windows"
            yield space.warning(declared, path, "shell-on-windows", message)


def _tags(space: Space, declared: Declared, root: FieldPath, step: Step, machines: _Machines) -> Iterator[Diagnostic]:
    """Warn of target tags that no declared target bears: the step would run for nobody."""
    if not machines.all_tags or space.open_at(declared, root):
        return
    location = step.location
    given: list[tuple[FieldPath, str]] = []
    if isinstance(location, ExecutionLocationSpec):
        given += [((*root, "location", "targetTags", index), tag) for index, tag in enumerate(location.target_tags)]
        given += [((*root, "location", "onBehalfOf", index), tag) for index, tag in enumerate(location.on_behalf_of)]
    group = (step.model_extra or {}).get("group")
    if isinstance(group, dict):
        given += [((*root, "group", "targetTags", number), str(tag)) for number, tag in enumerate(group["targetTags"])]
    for path, tag in given:
        if tag not in machines.tags:
            message = f'no declared target bears the tag "{tag}"{space.suggestion(tag, machines.tags)}'
            yield space.warning(declared, path, "no-target", message)
