"""Random spaces that are valid by construction, as people write them: documents, not models."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from reconciler.model.desired import DesiredState
from tests.scenarios.declaring import declare

ENVIRONMENTS = ("lab", "staging", "production")
POOLS = ("amber", "blue", "coral")
WORKERS = ("w1", "w2", "w3", "w4", "w5")
PROJECTS = ("blog", "shop")
TENANTS = ("acme", "zeta")
STEPS = ("Build", "Test", "Ship", "Tell")

Document = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def some(names: tuple[str, ...], *, least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, min_size=least).map(sorted)


def document(kind: str, name: str, spec: Document, **metadata: Any) -> Document:
    return {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


@st.composite
def desired_states(draw: Draw) -> DesiredState:
    """Draw a space with pools, workers, projects, tenants and deployments that name each other rightly."""
    return declare(_texts(_files(draw)))


@st.composite
def guarded_states(draw: Draw) -> DesiredState:
    """Draw such a space with values that a plan does not show: variables, hosts, accounts, notes."""
    files = _files(draw)
    pools = [item["metadata"]["name"] for item in files["pools.yaml"]]
    scope: Document = {"environments": [files["environments.yaml"][0]["metadata"]["name"]]}
    for item, host in zip(files["workers.yaml"], draw(st.permutations(_TEXTS[:-1])), strict=False):
        endpoint = item["spec"]["endpoint"]["listening"]
        item["spec"]["endpoint"]["listening"] = endpoint | {"host": host}
        item["spec"]["capabilities"] = draw(st.dictionaries(st.sampled_from(["helm", "gpu"]), _VALUES, max_size=2))
        item["metadata"]["annotations"] = draw(st.dictionaries(st.sampled_from(["rack", "note"]), _VALUES, max_size=2))
    for item in files["projects.yaml"]:
        item["spec"]["variables"] = _variables(draw, pools, scope)
        item["spec"]["process"][0]["env"] = draw(st.dictionaries(st.sampled_from(["A", "B"]), _VALUES, max_size=2))
    for item in files["deployments.yaml"]:
        item["spec"]["variables"] = draw(st.dictionaries(st.sampled_from(["Url", "Size"]), _VALUES, max_size=2))
    names = draw(some(("one", "two")))
    files["sets.yaml"] = [
        document("VariableSet", name, {"variables": _variables(draw, pools, scope)}) for name in names
    ]
    files["proxies.yaml"] = [document("Proxy", "way-out", {"url": f"http://{draw(st.sampled_from(WORKERS))}:3128"})]
    return declare(_texts(files))


_TEXTS = ["db-1", "amber", "blue/x", "w1", "10.0.0.7", "true", "x\ny\n"]
_VALUES = st.sampled_from(_TEXTS)
"""Among them names of objects, also before a slash: those a plan looks for in whatever uses what leaves."""


def _variables(draw: Draw, pools: list[str], scope: Document) -> list[Document]:
    found: list[Document] = []
    for name in draw(some(("Color", "Size", "Url"))):
        shape = draw(st.integers(0, 3))
        if shape == 0:
            found.append({"name": name, "type": "workerPool", "value": draw(st.sampled_from(pools))})
        elif shape == 1:
            found.append({"name": name, "type": "sensitive", "value": {"env": draw(st.sampled_from(["A", "B"]))}})
        elif shape == 2:
            found.append({"name": name, "values": [{"value": draw(_VALUES), "scope": each} for each in ({}, scope)]})
        else:
            found.append({"name": name, "value": draw(_VALUES)})
    return found


def _texts(files: dict[str, list[Document]]) -> dict[str, str]:
    return {name: "---\n".join(f"{json.dumps(item)}\n" for item in found) for name, found in files.items() if found}


def _files(draw: Draw) -> dict[str, list[Document]]:
    environments, pools = draw(some(ENVIRONMENTS, least=1)), draw(some(POOLS, least=1))
    projects, tenants = draw(some(PROJECTS)), draw(some(TENANTS))
    return {
        "reconcile.yaml": [document("Space", "acme", _settings(draw))],
        "environments.yaml": [
            document("Environment", name, {"sortOrder": draw(st.integers(0, 2))}) for name in environments
        ],
        "pools.yaml": _pools(draw, pools, environments),
        "workers.yaml": _workers(draw, pools),
        "projects.yaml": [_project(draw, name, pools) for name in projects],
        "tenants.yaml": [
            document("Tenant", name, {"projects": dict.fromkeys(projects, environments)}) for name in tenants
        ],
        "deployments.yaml": _deployments(draw, projects, environments, tenants),
    }


def _settings(draw: Draw) -> Document:
    return {
        "apply": draw(st.sampled_from(["atomic", "isolated"])),
        "maxRemovals": draw(st.sampled_from(["25%", "1", "100%"])),
        "builtinWorker": {"enabled": draw(st.booleans())},
    }


def _pools(draw: Draw, pools: list[str], environments: list[str]) -> list[Document]:
    default = draw(st.sampled_from([None, *pools]))
    free = [name for name in POOLS if name not in pools]
    found = []
    for name in pools:
        spec: Document = {"description": draw(st.sampled_from(["", "one", "two"])), "default": name == default}
        if draw(st.integers(0, 4)) == 0:
            spec["allowedEnvironments"] = environments[:1]
        found.append(document("WorkerPool", name, spec, **_fate(draw, free)))
    return found


def _fate(draw: Draw, free: list[str]) -> Document:
    """Draw whether an object is protected, and which free name it had before, which is free no longer."""
    fate: Document = {"protect": draw(st.integers(0, 4)) == 0}
    if free and draw(st.integers(0, 3)) == 0:
        fate["renamedFrom"] = former = draw(st.sampled_from(free))
        free.remove(former)
    return fate


def _workers(draw: Draw, pools: list[str]) -> list[Document]:
    workers = draw(some(WORKERS))
    free = [name for name in WORKERS if name not in workers]
    found = []
    for name in workers:
        key = f"{name}{draw(st.sampled_from(['a', 'a', 'b']))}"
        endpoint = {"listening": {"host": name, "thumbprints": ["SHA256:" + key.ljust(43, "A")]}}
        spec = {
            "pools": draw(some(tuple(pools), least=1)),
            "state": draw(st.sampled_from(["enabled", "enabled", "disabled"])),
            "endpoint": endpoint,
        }
        found.append(document("Worker", name, spec, **_fate(draw, free)))
    return found


def _project(draw: Draw, name: str, pools: list[str]) -> Document:
    steps = draw(st.lists(st.sampled_from(STEPS), unique=True, min_size=1, max_size=3))
    locations: list[Document | None] = [None, None, {"runOn": "server"}]
    locations += [{"runOn": "workerPool", "pool": pool} for pool in pools]
    process = []
    for step in steps:
        location = draw(st.sampled_from(locations))
        body = draw(st.sampled_from(["true", "make"]))
        process.append(
            {"name": step, "script": {"syntax": "bash", "body": body}} | ({"location": location} if location else {})
        )
    return document("Project", name, {"process": process})


def _deployments(draw: Draw, projects: list[str], environments: list[str], tenants: list[str]) -> list[Document]:
    found: list[Document] = []
    for project in projects:
        for environment in environments:
            if draw(st.booleans()):
                spec: Document = {
                    "project": project,
                    "environment": environment,
                    "release": draw(st.sampled_from(["1.0", "2.0"])),
                    "tenants": draw(some(tuple(tenants))) if tenants else [],
                    "priority": draw(st.integers(0, 1)),
                }
                earlier = [item["metadata"]["name"] for item in found]
                if earlier and draw(st.booleans()):
                    spec["after"] = [draw(st.sampled_from(earlier))]
                found.append(document("Deployment", f"{project}-{environment}", spec))
    return found
