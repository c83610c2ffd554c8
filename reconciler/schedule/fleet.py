"""The machines that steps may run on: pools, their members, and what keeps a member from work."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from reconciler.model.infrastructure import MachinePolicySpec
from reconciler.model.live import Override, WorkerHealth, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.protocol.tickets import Limits
from reconciler.schedule.capabilities import unmet
from reconciler.schedule.limits import STOP, limits_in, names, unpromised
from reconciler.schedule.requests import Needs

BUILTIN = "built-in"
"""The name under which the server's own machine is listed; no Worker can be called so twice."""

IMPLICIT_POOL = "default"
"""The empty static pool that exists where no pool is declared as the default one."""


MEMBERS_MAX = 2**16
"""Members that are remembered by what their documents say, for most of them are the same from commit to commit."""

PATIENCES_MAX = 2
"""Sets of policies under which they are: the one of before, and the one that is planned."""

LOST_AFTER = MachinePolicySpec().connection.lost_after.seconds
"""Where no machine policy says otherwise."""


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
    attempts_max: int | None = None
    """Attempts that run in it at a time; None is no cap."""
    round_robin: bool = False
    """Whoever was leased longest ago is next, however many leases he has."""


class Obstacle(NamedTuple):
    """What keeps a worker from a step, as words that follow its name; `mended` says what would have to be so."""

    what: str
    mended: str


class Former(NamedTuple):
    """The name under which a worker's machine is spoken with until its last attempt has ended, and what runs there."""

    name: str
    runs: str


@dataclass(frozen=True, slots=True)
class Member:
    """A registered worker, as far as choosing one needs it."""

    name: str
    pools: tuple[str, ...]
    endpoint: str
    state: str = "enabled"
    override: Override | None = None
    """By whom it is drained, whatever its document says."""
    labels: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    """What its document declares; what its agent found stands in `status`."""
    slots: int | None = None
    isolation: str = "none"
    """"none" | "user" | "sandbox": the least that steps get here."""
    run_as: str = ""
    """The account that steps run under; empty leaves it to the agent."""
    lost_after: float = LOST_AFTER
    """Seconds of silence after which its attempts are given up."""
    limits: Limits = field(default_factory=Limits)
    """What each attempt may use at most."""
    status: WorkerStatus | None = None
    expected: bool = False
    """Is it taken to be connected though it was never met? So a plan sees what is declared, and nothing that moves."""
    awaited: bool = False
    """Will it tell soon what it has? Until then it gets no step that requires something."""
    former: Former | None = None
    """Where it was renamed while it works: it has no room until it is met under its own name."""

    def unfit(self, needs: Needs) -> str | None:
        """Say why this worker cannot take such a step at all, whatever it does just now, or None if it can."""
        first = next(self.obstacles(needs), None)
        return first.what if first is not None else None

    def obstacles(self, needs: Needs) -> Iterator[Obstacle]:
        """Yield everything for which this worker cannot take such a step at all, as far as it is known."""
        for key, value in needs.selector:
            if self.labels.get(key) != value:
                yield Obstacle(f"does not bear the label {key}={value}", f"it bore the label {key}={value}")
        yield from self._absences()
        if self.endpoint != BUILTIN and self._is_met:
            yield from self._gaps(needs.promises)
        if needs.requires and self.awaited:
            yield Obstacle("has not told yet what it has", "it had told what it has")
            return
        found = self.found if needs.requires else {}
        for name, wanted in needs.requires:
            if name not in found and not self._is_met:
                continue  # who was never met may well have it
            if lack := unmet(name, wanted, found):
                yield Obstacle(lack, f"it had {name} {wanted}".removesuffix("*").rstrip())

    @property
    def _is_met(self) -> bool:
        status = self.status
        return status is not None and (status.seen is not None or status.health is WorkerHealth.HEALTHY)

    @property
    def found(self) -> Mapping[str, str]:
        """Everything that it is capable of, declared or found."""
        seen = self.status.seen.capabilities if self.status is not None and self.status.seen is not None else {}
        return {**seen, **self.capabilities}

    def busy(self, running: int) -> str | None:
        """Say that it has no room for one more attempt beside those that run, or None."""
        if self.former is not None:
            return f"still runs {self.former.runs} under its former name {self.former.name}"
        if self.slots is not None and running >= self.slots:
            return f"runs {running} of {self.slots} attempts"
        return None

    def _absences(self) -> Iterator[Obstacle]:
        """Yield why no step is given to it, whichever it is."""
        if self.endpoint == BUILTIN:
            return
        if self.override is not None:
            yield Obstacle(f"is draining {self.override.words}", "its live override were ended")
        elif self.state != "enabled":
            yield Obstacle(f"is {self.state}", "its state were enabled")
        if self.endpoint == "ssh":
            yield Obstacle("is reached by SSH, and such workers are not carried out yet", "it had an agent")
        elif self.status is None and not self.expected:
            never = "has never connected" if self.endpoint == "polling" else "was never reached"
            yield Obstacle(never, "its agent were connected")
        elif self.status is not None and self.status.health is not WorkerHealth.HEALTHY:
            yield Obstacle(f"is {self.status.health}: {self.status.reason}", "its agent were connected")

    def _gaps(self, promises: Iterable[str]) -> Iterator[Obstacle]:
        """Yield what its agent has not promised of all that is declared; less than declared is never enough."""
        seen = self.status.seen if self.status is not None else None
        told = seen.capabilities if seen is not None else {}
        allowed = list(filter(None, told.get("isolation.user", "").split(",")))
        if self.isolation != "none" and f"isolation.{self.isolation}" not in told:
            what = f"has no isolation {self.isolation}: `reconcile agent show` says why there"
            yield Obstacle(what, f"its agent had the isolation {self.isolation}")
        elif self.isolation != "none" and self.run_as and self.run_as not in allowed:
            accounts = ", ".join(allowed) or "no account"
            what = f"does not run steps under {self.run_as}: its agent allows {accounts}"
            yield Obstacle(what, f"its agent allowed the account {self.run_as}")
        own = (f"limit.{name}" for name in names(self.limits))
        for promise in dict.fromkeys((*promises, *own)):
            if promise not in told:
                meant = "stopped scripts by itself" if promise == STOP else f"had the {promise.replace('.', ' ')}"
                yield Obstacle(unpromised(promise), f"its agent {meant}")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every pool and worker of a space at one moment."""

    pools: Mapping[str, Pool]
    workers: Mapping[str, Member]
    default_pool: str = IMPLICIT_POOL
    builtin_enabled: bool = True
    builtin_obstacle: str = "the space disables the built-in worker"
    builtin_account: str | None = None
    """Under which account steps run on the server's own machine; None leaves it to the server."""
    builtin_status: WorkerStatus | None = None
    """As what the server's own machine was last found; None where it never was."""
    builtin_awaited: bool = False
    """Will the server's own machine tell soon what it has?"""
    task_quota: int | None = None
    """Tasks of the space that may run at a time, where that is less than the server's own bound."""

    @property
    def builtin(self) -> Member:
        """The server's own machine, as one more row."""
        account = self.builtin_account or ""
        isolation = "user" if account else "none"
        return Member(
            *(BUILTIN, (), BUILTIN),
            isolation=isolation,
            run_as=account,
            status=self.builtin_status,
            awaited=self.builtin_awaited,
        )

    def machine(self, name: str) -> Member | None:
        """Return a worker, or the server's own machine, by name."""
        return self.builtin if name == BUILTIN else self.workers.get(name)

    def runs_builtin(self, pool: str) -> bool:
        """Do steps of `pool` run on the server's own machine, if that is enabled?

        Only for the default pool, and only while it is static and nobody at all is registered in it.
        """
        here = self.pools.get(pool)
        return pool == self.default_pool and here is not None and not here.dynamic and not here.workers


def fleet_of(
    objects: Mapping[Address, Described],
    space: SpaceSpec,
    seen: Mapping[str, WorkerStatus] | None = None,
    overrides: Mapping[str, Override] | None = None,
    formers: Mapping[str, Former] | None = None,
) -> Fleet:
    """Gather the fleet of a desired or live state; canonical JSON is read without validating it again.

    `seen` says how each worker was last found, `overrides` which of them people drain, `formers` which of them still
    work under another name.
    """
    by = formers or {}
    fleet = as_seen(declared_fleet(objects, space), seen_as(seen or {}, by), overrides or {})
    renamed = {name: replace(fleet.workers[name], former=former) for name, former in by.items()}
    return replace(fleet, workers={**fleet.workers, **renamed}) if renamed else fleet


def seen_as(seen: Mapping[str, WorkerStatus], formers: Mapping[str, Former]) -> Mapping[str, WorkerStatus]:
    """Return how each worker was last found: one that still works under another name as that one."""
    return {**seen, **{name: seen[former.name] for name, former in formers.items() if former.name in seen}}


def declared_fleet(objects: Mapping[Address, Described], space: SpaceSpec) -> Fleet:
    """Gather the fleet as it is declared, of which nothing was seen."""
    member = _remembering(tuple(_patience(objects).items()))
    workers = {name: member(name, found.spec, found.metadata) for name, found in _of_kind(objects, "Worker")}
    members: dict[str, list[str]] = {}
    for worker in sorted(workers):
        for pool in workers[worker].pools:
            members.setdefault(pool, []).append(worker)
    pools = {name: _pool(name, found, members.get(name, [])) for name, found in _of_kind(objects, "WorkerPool")}
    default = next((pool.name for pool in pools.values() if pool.default), IMPLICIT_POOL)
    if default not in pools:
        pools[default] = Pool(default, default=True, workers=tuple(members.get(default, [])))
    builtin = space.builtin_worker
    return Fleet(pools, workers, default, builtin.enabled, builtin_account=builtin.run_as, task_quota=space.task_quota)


def as_seen(declared: Fleet, seen: Mapping[str, WorkerStatus], overrides: Mapping[str, Override]) -> Fleet:
    """Return a declared fleet as its workers were last found, and as people drain them."""
    workers = dict(declared.workers)
    for name in seen.keys() & workers.keys():
        workers[name] = replace(workers[name], status=seen[name])
    for name, override in overrides.items():
        if name in workers and workers[name].state == "enabled":
            workers[name] = replace(workers[name], state="draining", override=override)
    return replace(declared, workers=workers, builtin_status=seen.get(BUILTIN))


class Expected(Mapping[str, Member]):
    """Members that are taken to be connected though they were never met, each made when it is asked for."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> Member:
        return replace(self._members[name], expected=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _of_kind(objects: Mapping[Address, Described], kind: str) -> Iterable[tuple[str, Described]]:
    return ((address.name, found) for address, found in objects.items() if address.kind == kind)


def _patience(objects: Mapping[Address, Described]) -> dict[str | None, float]:
    """Return the seconds of silence after which attempts are lost, by policy; None stands for the default one."""
    found: dict[str | None, float] = {}
    for name, policy in _of_kind(objects, "MachinePolicy"):
        spec = MachinePolicySpec.parse(policy.spec)
        found[name] = spec.connection.lost_after.seconds
        if spec.default:
            found[None] = found[name]
    return found


@lru_cache(maxsize=PATIENCES_MAX)
def _remembering(patience: tuple[tuple[str | None, float], ...]) -> Callable[[str, str, str], Member]:
    """Return what reads a member by its name, spec and metadata, under policies, and remembers what it has read."""
    return lru_cache(maxsize=MEMBERS_MAX)(partial(_member, dict(patience)))


def _member(patience: Mapping[str | None, float], name: str, document: str, metadata: str) -> Member:
    spec = json.loads(document)
    return Member(
        name=name,
        pools=tuple(spec["pools"]),
        endpoint=next(iter(spec["endpoint"])),
        state=spec.get("state", "enabled"),
        labels=json.loads(metadata)["labels"] if '"labels":' in metadata else {},
        capabilities=spec.get("capabilities", {}),
        slots=spec.get("slots"),
        isolation=_isolation(spec.get("isolation", "none"), spec.get("runAs")),
        run_as=spec.get("runAs") or "",
        lost_after=patience.get(spec.get("policy"), LOST_AFTER),
        limits=limits_in(spec),
    )


def _isolation(declared: str, run_as: str | None) -> str:
    """Return the least isolation of a worker: an account of its own asks for `user`."""
    return "user" if declared == "none" and run_as else declared


def _pool(name: str, found: Described, workers: list[str]) -> Pool:
    spec = json.loads(found.spec)
    allowed = spec.get("allowedEnvironments")
    return Pool(
        name=name,
        default=spec.get("default", False),
        dynamic="dynamic" in spec,
        workers_min=spec.get("minWorkers", 0),
        attempts_max=spec.get("maxConcurrentAttempts"),
        round_robin=spec.get("selection") == "roundRobin",
        allowed_environments=None if allowed is None else tuple(allowed),
        workers=tuple(workers),
    )
