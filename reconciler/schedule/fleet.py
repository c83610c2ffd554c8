"""The machines that steps may run on: pools, their members, and what keeps a member from work."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address

BUILTIN = "built-in"
"""The name under which the server's own machine is listed; no Worker can be called so twice."""

IMPLICIT_POOL = "default"
"""The empty static pool that exists where no pool is declared as the default one."""


class Described(Protocol):
    """An object by its canonical JSON, declared or live."""

    @property
    def spec(self) -> str:
        """Canonical JSON of the spec."""

    @property
    def metadata(self) -> str:
        """Canonical JSON of the metadata."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and the names of its registered workers, in order."""

    name: str
    default: bool = False
    dynamic: bool = False
    workers_min: int = 0
    allowed_environments: tuple[str, ...] | None = None
    workers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A registered worker, as far as choosing one needs it."""

    name: str
    pools: tuple[str, ...]
    endpoint: str
    state: str = "enabled"
    labels: Mapping[str, str] = field(default_factory=dict)

    def obstacle(self) -> str | None:
        """Say why this worker cannot take an attempt, or None if it can."""
        if self.state != "enabled":
            return f"is {self.state}"
        return f"has never been seen healthy: {self.endpoint} workers are registered, but not yet reached"

    def lacks(self, selector: Mapping[str, str]) -> str | None:
        """Say which wanted label this worker does not bear, or None."""
        for key, value in selector.items():
            if self.labels.get(key) != value:
                return f"does not bear the label {key}={value}"
        return None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every pool and worker of a space at one moment."""

    pools: Mapping[str, Pool]
    workers: Mapping[str, Member]
    default_pool: str = IMPLICIT_POOL
    builtin_enabled: bool = True

    def runs_builtin(self, pool: str) -> bool:
        """Do steps of `pool` run on the server's own machine, if that is enabled?

        Only for the default pool, and only while it is static and nobody at all is registered in it.
        """
        here = self.pools.get(pool)
        return pool == self.default_pool and here is not None and not here.dynamic and not here.workers


def fleet_of(objects: Mapping[Address, Described], space: SpaceSpec) -> Fleet:
    """Gather the fleet of a desired or live state; canonical JSON is read without validating it again."""
    workers = {name: _member(name, found) for name, found in _of_kind(objects, "Worker")}
    members: dict[str, list[str]] = {}
    for worker in sorted(workers):
        for pool in workers[worker].pools:
            members.setdefault(pool, []).append(worker)
    pools = {name: _pool(name, found, members.get(name, [])) for name, found in _of_kind(objects, "WorkerPool")}
    default = next((pool.name for pool in pools.values() if pool.default), IMPLICIT_POOL)
    if default not in pools:
        pools[default] = Pool(default, default=True, workers=tuple(members.get(default, [])))
    return Fleet(pools, workers, default, space.builtin_worker.enabled)


def _of_kind(objects: Mapping[Address, Described], kind: str) -> Iterable[tuple[str, Described]]:
    return ((address.name, found) for address, found in objects.items() if address.kind == kind)


def _member(name: str, found: Described) -> Member:
    spec = json.loads(found.spec)
    return Member(
        name=name,
        pools=tuple(spec["pools"]),
        endpoint=next(iter(spec["endpoint"])),
        state=spec.get("state", "enabled"),
        labels=json.loads(found.metadata)["labels"] if '"labels":' in found.metadata else {},
    )


def _pool(name: str, found: Described, workers: list[str]) -> Pool:
    spec = json.loads(found.spec)
    allowed = spec.get("allowedEnvironments")
    return Pool(
        name=name,
        default=spec.get("default", False),
        dynamic="dynamic" in spec,
        workers_min=spec.get("minWorkers", 0),
        allowed_environments=None if allowed is None else tuple(allowed),
        workers=tuple(workers),
    )
