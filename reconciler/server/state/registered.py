"""Workers with an agent, as Git last declared them: their identities, and where each is met."""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.model.infrastructure import WorkerSpec
from reconciler.model.spec import Address
from reconciler.store import enrolment, objects, worker_status
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Registered:
    """A declared worker; `subscription` is empty for one that listens."""

    worker: str
    pools: tuple[str, ...]
    thumbprints: tuple[str, ...]
    subscription: str


def registered(tx: Transaction) -> dict[str, Registered]:
    """Return the live workers that have an agent, by name."""
    found = (_registered(name, obj.spec) for name, obj in objects.of_kind(tx, "Worker").items())
    return {one.worker: one for one in found if one is not None}


def registered_as(tx: Transaction, name: str) -> Registered | None:
    """Return the live worker of a name, if it has an agent."""
    found = objects.one(tx, Address("Worker", name))
    return _registered(name, found.spec) if found else None


def other_pools(worker: Registered, pools: Sequence[str]) -> str | None:
    """Say that Git declares a worker in other pools than a token is for, or None: who enrols again moves to the token's."""
    if {*worker.pools} == {*pools}:
        return None
    return f"{worker.worker} is in {_listed(worker.pools)} in Git, and the token is for {_listed(pools)}"


def _listed(pools: Sequence[str]) -> str:
    return f"the pool{'s' if len(pools) > 1 else ''} {', '.join(pools)}"


def bearer(tx: Transaction, thumbprint: str) -> Registered | None:
    """Return the live worker whom Git declares with a thumbprint."""
    for name, spec in enrolment.specs_naming(tx, thumbprint).items():
        worker = _registered(name, spec)
        if worker is not None and thumbprint in worker.thumbprints:
            return worker
    return None


def unseen_since(tx: Transaction, moment: float) -> list[str]:
    """Return the workers that neither greeted nor were certified since `moment`, by name."""
    greeted = {name: status.seen.at for name, status in worker_status.statuses(tx).items() if status.seen is not None}
    certified = _last_certified(tx)
    return [
        name
        for name, worker in registered(tx).items()
        if max(greeted.get(name, 0.0), *(certified.get(thumbprint, 0.0) for thumbprint in worker.thumbprints)) < moment
    ]


def uncertified_since(tx: Transaction, moment: float) -> list[str]:
    """Return the workers that did not greet since `moment`, or whose certificate is older, by name."""
    certified = _last_certified(tx)
    dates = {
        name: [certified[thumbprint] for thumbprint in worker.thumbprints if thumbprint in certified]
        for name, worker in registered(tx).items()
    }
    old = {name for name, known in dates.items() if known and max(known) < moment}
    return sorted(old.union(unseen_since(tx, moment)))


def _last_certified(tx: Transaction) -> dict[str, float]:
    return {identity.thumbprint: identity.certified_at for identity in enrolment.identities(tx)}


def _registered(name: str, spec: str) -> Registered | None:
    worker = WorkerSpec.parse(spec)
    if polling := worker.endpoint.polling:
        return Registered(name, worker.pools, polling.thumbprints, polling.subscription)
    if listening := worker.endpoint.listening:
        return Registered(name, worker.pools, listening.thumbprints, "")
    return None
