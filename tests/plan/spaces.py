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
    environments, pools = draw(some(ENVIRONMENTS, least=1)), draw(some(POOLS, least=1))
    projects, tenants = draw(some(PROJECTS)), draw(some(TENANTS))
    files = {
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
    texts = {name: "---\n".join(f"{json.dumps(item)}\n" for item in found) for name, found in files.items() if found}
    return declare(texts)


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
