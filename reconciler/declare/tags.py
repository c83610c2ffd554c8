"""Check tenant tags: each is one of a declared set."""

import json
from collections.abc import Iterator

from reconciler.declare.partial import is_stand_in
from reconciler.declare.space import FieldPath, Space
from reconciler.declare.variables import OWNERS
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.spec import Address
from reconciler.model.variables import Variable
from reconciler.model.work import ProjectSpec, RunbookSpec


def tag_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield an error for each use of a tag that no TagSet declares."""
    known = {
        f"{declared.address.name}/{tag['name']}"
        for declared in space.of_kind("TagSet")
        for tag in json.loads(declared.spec)["tags"]
    }
    shown = {tag for tag in known if not is_stand_in(tag)}
    for declared, path, tag in _uses(space):
        if tag not in known and not is_stand_in(tag) and not _may_hold(space, tag):
            message = f'the tag "{tag}" is not declared in any TagSet{space.suggestion(tag, shown)}'
            yield space.error(declared, path, "unknown-tag", message)


def _may_hold(space: Space, tag: str) -> bool:
    """Say whether the set of a tag may hold it, where something in it is not certain."""
    address = Address("TagSet", tag.partition("/")[0])
    found = space.objects.get(address)
    return space.may_hold(address) if found is None else space.lacks(found, ("spec", "tags", None, "name"))


def _uses(space: Space) -> Iterator[tuple[Declared, FieldPath, str]]:
    for declared in space.of_kind("Tenant"):
        for index, tag in enumerate(json.loads(declared.spec).get("tags", [])):
            yield declared, ("spec", "tags", index), tag
    for kind, owner in OWNERS.items():
        for declared in space.of_kind(kind):
            if '"tenantTags":' in declared.spec:
                yield from _of_variables(declared, space.spec(declared, owner).variables)
    for declared in space.of_kind("Project"):
        yield from _of_steps(declared, space.spec(declared, ProjectSpec))
    for declared in space.of_kind("Runbook"):
        yield from _of_steps(declared, space.spec(declared, RunbookSpec))


def _of_variables(declared: Declared, variables: tuple[Variable, ...]) -> Iterator[tuple[Declared, FieldPath, str]]:
    for index, variable in enumerate(variables):
        for number, scoped in enumerate(variable.values or ()):
            for position, tag in enumerate(scoped.scope.tenant_tags):
                path = ("spec", "variables", index, "values", number, "scope", "tenantTags", position)
                yield declared, path, tag


def _of_steps(declared: Declared, spec: ProjectSpec | RunbookSpec) -> Iterator[tuple[Declared, FieldPath, str]]:
    for index, step in enumerate(spec.process):
        for position, tag in enumerate(step.tenant_tags):
            yield declared, ("spec", "process", index, "tenantTags", position), tag
