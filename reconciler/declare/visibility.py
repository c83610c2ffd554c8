"""Which variables the processes of a project may see, and whether those are all that there may be."""

import json
from collections import Counter
from collections.abc import Collection

from reconciler.declare.space import VARIABLE_NAMES, Space
from reconciler.model.desired import Declared
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec
from reconciler.schedule.variables import Sourced, visible

FROM_RUNS = ("Deployment", "RunbookRun")
"""Kinds that set variables for one run."""


def visible_variables(space: Space, project: Declared) -> list[Sourced]:
    """Return every variable that a process of the project may see: also those of some tenants or deployments only."""
    name, spec = project.address.name, space.spec(project, ProjectSpec)
    sets = {
        found.address.name: space.spec(found, VariableSetSpec)
        for found in space.of_kind("VariableSet")
        if found.address.name in spec.variable_sets
    }
    return [*visible(name, spec, sets), *space.once(_of_runs_and_tenants)]


def _of_runs_and_tenants(space: Space) -> list[Sourced]:
    """Return the variables of all tenants and runs, whichever project they are for."""
    known: list[Sourced] = []
    for tenant in space.of_kind("Tenant"):
        if '"variables":' in tenant.spec:
            known += visible("", _NO_VARIABLES, {}, tenant=(tenant.address.name, space.spec(tenant, TenantSpec)))
    for kind in FROM_RUNS:
        for run in space.of_kind(kind):
            if '"variables":' in run.spec:
                values = json.loads(run.spec)["variables"]
                known += visible("", _NO_VARIABLES, {}, deployment=(run.address.name, values))
    return known


def sensitive_names(known: Collection[Sourced]) -> frozenset[str]:
    """Return the names of sensitive variables; of one that its owner declares twice nothing is known."""
    declared = Counter((found.source, found.owner, found.name) for found in known)
    return frozenset(
        found.name
        for found in known
        if found.variable.type == "sensitive" and declared[found.source, found.owner, found.name] == 1
    )


_NO_VARIABLES = ProjectSpec.model_construct(process=())


def sees_all_variables(space: Space, project: Declared) -> bool:
    """Say whether there can be no other variables: everything that may declare one is read, and certain."""
    if space.lacks(project, VARIABLE_NAMES, ("spec", "variableSets", None)):
        return False
    sets = [Address("VariableSet", name) for name in space.spec(project, ProjectSpec).variable_sets]
    if any(one not in space.objects or space.lacks(space.objects[one], VARIABLE_NAMES) for one in sets):
        return False
    return not any(space.any_lacks(kind, path) for kind, path in _ELSEWHERE)


_ELSEWHERE = (("Tenant", VARIABLE_NAMES), *((kind, ("spec", "variables")) for kind in FROM_RUNS))


def has_certain_types(space: Space) -> bool:
    """Say whether the type of every variable is certain."""
    types = ("spec", "variables", None, "type")
    return not any(space.any_lacks(kind, types) for kind in ("Project", "VariableSet", "Tenant"))


def all_variables(space: Space) -> tuple[set[str], bool]:
    """Return the names of all variables of the space, and whether there can be no others."""
    names: set[str] = set()
    for kind in ("Project", "VariableSet", "Tenant"):
        for declared in space.of_kind(kind):
            names |= {str(variable["name"]) for variable in json.loads(declared.spec).get("variables", [])}
    for kind in FROM_RUNS:
        for declared in space.of_kind(kind):
            names |= set(json.loads(declared.spec).get("variables", {}))
    elsewhere = (*_ELSEWHERE, ("Project", VARIABLE_NAMES), ("VariableSet", VARIABLE_NAMES))
    return names, not any(space.any_lacks(kind, path) for kind, path in elsewhere)
