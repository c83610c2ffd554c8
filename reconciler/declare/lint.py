"""Warn about what is allowed and seldom meant: lonely pools, odd names, pools used and empty."""

import json
import re
from collections import Counter
from collections.abc import Iterator

from reconciler.declare.partial import is_stand_in
from reconciler.declare.space import Space
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.order import IMPLICIT
from reconciler.model.spec import Address

REDUNDANT = 2
"""Workers below which a production pool has no second machine to go on with."""

_SIZE = (("spec", "dynamic"), ("spec", "minWorkers"), ("spec", "default"))
"""What says how many workers a pool needs."""


def warnings(space: Space) -> Iterator[Diagnostic]:
    """Yield the warnings of a space."""
    members = space.tally.members
    strays = any(not _is_pool(space, name) for name in members)
    if not strays and not space.any_lacks("Worker", ("spec", "pools", None)):
        yield from _small_pools(space, members)
        yield from _empty_pools(space, members)
    yield from _odd_names(space)


def _is_pool(space: Space, name: str) -> bool:
    address = Address("WorkerPool", name)
    return address in space.objects or address in IMPLICIT


def _small_pools(space: Space, members: Counter[str]) -> Iterator[Diagnostic]:
    for pool in space.of_kind("WorkerPool"):
        count = members[pool.address.name]
        if '"minWorkers":' not in pool.spec and not (0 < count < REDUNDANT and '"production"' in pool.spec):
            continue
        spec = json.loads(pool.spec)
        least = spec.get("minWorkers", 0)
        if "dynamic" in spec or space.lacks(pool, ("metadata", "name"), *_SIZE):
            continue
        if count < least:
            message = f"{pool.address} has {count} of at least {least} workers"
            yield space.warning(pool, ("spec", "minWorkers"), "few-workers", message)
        elif 0 < count < REDUNDANT and "production" in spec.get("allowedEnvironments", []):
            message = f"{pool.address} serves production with one worker; nothing takes over when it fails"
            yield space.warning(pool, ("metadata", "name"), "lonely-worker", message)


def _empty_pools(space: Space, members: Counter[str]) -> Iterator[Diagnostic]:
    """Point at each use of a static pool without workers, but for the default one, whose steps run built-in."""
    if not space.tally.uses_empty_pool:
        return
    for user in space.declared:
        if user.address.kind == "Worker":
            continue
        for reference in user.references:
            pool = space.objects.get(reference.target) if reference.target.kind == "WorkerPool" else None
            if pool is None or members[pool.address.name] or space.lacks(pool, *_SIZE):
                continue
            spec = json.loads(pool.spec)
            if "dynamic" not in spec and not spec.get("default"):
                message = f"{user.address} uses {pool.address}, which has no workers: its steps cannot run"
                yield space.warning(user, ("spec", *reference.path), "empty-pool", message)


def _odd_names(space: Space) -> Iterator[Diagnostic]:
    pattern = space.settings.worker_names
    if pattern is None or is_stand_in(pattern):
        return
    try:
        wanted = re.compile(pattern)
    except re.error as problem:
        declared = next(space.of_kind("Space"))
        yield space.error(
            declared, ("spec", "workerNames"), "bad-pattern", f"the pattern is not a regular expression: {problem}"
        )
        return
    for worker in space.of_kind("Worker"):
        if not space.lacks(worker, ("metadata", "name")) and not wanted.search(worker.address.name):
            yield space.warning(
                worker, space.name(worker), "odd-name", f"{worker.address} does not match workerNames {pattern}"
            )
