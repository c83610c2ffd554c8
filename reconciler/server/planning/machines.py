"""Two spaces of one server must not claim one machine: each would count its slots as its own."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from reconciler.model.infrastructure import DEFAULT_PORTS
from reconciler.model.spec import Address
from reconciler.server.planning.planning import Planned

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


def claims_of(ours: Claimant, spaces: Sequence[Claimant]) -> Callable[[Planned], str]:
    """Return what says which machine of a plan another space of this server has applied already; "" if none."""

    def claims(planned: Planned) -> str:
        others = [(other, other.machines) for other in spaces if other is not ours]
        wanted = dict(machines(planned.desired.objects)) if any(taken for _, taken in others) else {}
        for other, taken in others:
            for machine in wanted.keys() & taken.keys():
                return (
                    f"{wanted[machine]} is the machine {machine}, which the space {other.name} declares as "
                    f"{taken[machine]}: one machine belongs to one space"
                )
        return ""

    return claims


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
