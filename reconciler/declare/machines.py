"""Check what pools and policies say of machines: sizes that fit together, patience that ends, a host of its own."""

import json
from collections.abc import Iterator

from reconciler.declare.contents import OWN_HOST, OWN_HOSTS
from reconciler.declare.space import FieldPath, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.text import Duration
from reconciler.schedule.fleet import BUILTIN

PATIENCE_MAX = Duration("30m")
"""No connection and no health check is waited for longer."""

_TIMEOUTS: tuple[FieldPath, ...] = (("healthCheck", "timeout"), ("connection", "connectTimeout"))


def machine_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of pools, policies and names of workers, and warnings of workers on the server's own machine."""
    for pool in space.of_kind("WorkerPool"):
        if '"dynamic":' in pool.spec:
            yield from _dynamic(space, pool)
    for policy in space.of_kind("MachinePolicy"):
        yield from _patience(space, policy)
    for worker in space.of_kind("Worker"):
        if worker.address.name == BUILTIN:
            message = f'the worker "{BUILTIN}" is the server\'s own; another one needs another name'
            yield space.error(worker, space.name(worker), "bad-name", message)
    if not space.tally.own_hosts:
        return
    for worker in space.of_kind("Worker"):
        if OWN_HOST.search(worker.spec):
            yield from _own_host(space, worker)


def _dynamic(space: Space, pool: Declared) -> Iterator[Diagnostic]:
    root: FieldPath = ("spec", "dynamic")
    dynamic = json.loads(pool.spec)["dynamic"]
    provider = dynamic.get("provider", {})
    if len(provider) != 1 and not space.open_at(pool, (*root, "provider")):
        yield space.error(pool, (*root, "provider"), "exactly-one", "a dynamic pool has exactly one provider")
    least, most = dynamic.get("min", 0), dynamic.get("max", 10)
    if least > most and not space.open_at(pool, (*root, "min"), (*root, "max")):
        message = f"{least} workers are kept ready, and {most} are the most that there may be"
        yield space.error(pool, (*root, "min"), "bad-value", message)


def _patience(space: Space, policy: Declared) -> Iterator[Diagnostic]:
    spec = json.loads(policy.spec)
    for part, field in _TIMEOUTS:
        given = spec.get(part, {}).get(field)
        if given and Duration(given).seconds > PATIENCE_MAX.seconds:
            message = f"{given} is too long; no machine is waited for longer than {PATIENCE_MAX}"
            yield space.error(policy, ("spec", part, field), "bad-value", message)


def _own_host(space: Space, worker: Declared) -> Iterator[Diagnostic]:
    for kind, facts in json.loads(worker.spec)["endpoint"].items():
        host = facts.get("host", "")
        if host.startswith(OWN_HOSTS):
            message = f"{worker.address} is the server's own machine: its steps can read what the server keeps there"
            yield space.warning(worker, (*space.root(worker), "endpoint", kind, "host"), "own-host", message)
