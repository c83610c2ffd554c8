"""Two spaces of one server must not claim one machine: each would count its slots as its own."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from reconciler.model.infrastructure import DEFAULT_PORTS
from reconciler.model.spec import Address
from reconciler.server.planning.planning import Planned
from reconciler.store.machines import Taken, claim
from reconciler.store.writer import Store

REMEMBERED_MAX = 2**16
"""Documents whose machines are remembered, for most of them are the same from commit to commit."""

KINDS = ("Worker", "DeploymentTarget")


class Specified(Protocol):
    """An object, declared or live."""

    @property
    def spec(self) -> str:
        """Canonical JSON of the spec."""


class Claimant(Protocol):
    """A space of this server, with the machines that it has applied."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def machines(self) -> Mapping[str, Address]:
        """What its workers and targets are reached by, each with its address."""


class Claims(Protocol):
    """What keeps a space from the machines of others."""

    def against(self, planned: Planned) -> str:
        """Say which machine of a plan another space has applied already, as far as this process knows; "" if none."""

    async def take(self, store: Store, planned: Planned) -> str:
        """Claim the machines of a plan, and no others; says as `against` does why not."""


class Alone:
    """The claims of a space beside which there is no other."""

    def against(self, planned: Planned) -> str:
        """Return that nothing stands against it."""
        del planned
        return ""

    async def take(self, store: Store, planned: Planned) -> str:
        """Return that nothing stands against it."""
        del store, planned
        return ""


@dataclass(frozen=True, slots=True)
class Beside:
    """The claims of a space beside others of its server; where these may be led by other nodes, `learn` reads what they have."""

    ours: Claimant
    others: Sequence[Claimant]
    learn: Callable[[], None] | None = None

    def against(self, planned: Planned) -> str:
        """Say which machine of a plan another space has applied already, as far as this process knows; "" if none."""
        taken = [(other.name, other.machines) for other in self.others if other.machines]
        wanted = dict(machines(planned.desired.objects)) if taken else {}
        for space, held in taken:
            for machine in sorted(wanted.keys() & held.keys()):
                return _sentence(wanted[machine], Taken(machine, space, held[machine]))
        return ""

    async def take(self, store: Store, planned: Planned) -> str:
        """Claim the machines of a plan, and no others; says as `against` does why not.

        Between nodes the claim is written into the database, where two that claim at the same moment take turns.
        """
        if self.learn is None:
            return self.against(planned)
        await asyncio.to_thread(self.learn)
        if known := self.against(planned):
            return known
        wanted = dict(machines(planned.desired.objects))
        names = [other.name for other in self.others]
        taken = await store.write(lambda tx: claim(tx, wanted, names))
        return _sentence(wanted[taken.machine], taken) if taken is not None else ""


def _sentence(ours: Address, taken: Taken) -> str:
    return (
        f"{ours} is the machine {taken.machine}, which the space {taken.space} declares as {taken.address}: "
        "one machine belongs to one space"
    )


def machines(objects: Mapping[Address, Specified]) -> Iterator[tuple[str, Address]]:
    """Yield what each worker and target is reached by, with its address."""
    for address, found in objects.items():
        if address.kind in KINDS:
            for name in _names(found.spec):
                yield name, address


@lru_cache(maxsize=REMEMBERED_MAX)
def _names(spec: str) -> tuple[str, ...]:
    return tuple(_names_of(json.loads(spec).get("endpoint", {})))


def _names_of(endpoint: Mapping[str, Mapping[str, object]]) -> Iterable[str]:
    for kind, facts in endpoint.items():
        if "subscription" in facts:
            yield str(facts["subscription"])
        elif kind in DEFAULT_PORTS and "host" in facts:
            yield f"{facts['host']}:{facts.get('port', DEFAULT_PORTS[kind])}"
