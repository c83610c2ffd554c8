"""Two spaces of one server must not claim one machine: each would count its slots as its own."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from reconciler.model.spec import Address
from reconciler.server.planning import Planned

if TYPE_CHECKING:
    from reconciler.server.space_service import SpaceService

KINDS = ("Worker", "DeploymentTarget")


class Specified(Protocol):
    """An object, declared or live."""

    @property
    def spec(self) -> str:
        """Canonical JSON of the spec."""


def claims_of(ours: "SpaceService", spaces: Sequence["SpaceService"]) -> Callable[[Planned], str]:
    """Return what says which machine of a plan another space of this server has applied already; "" if none."""

    def claims(planned: Planned) -> str:
        wanted = dict(machines(planned.desired.objects))
        for other in spaces:
            taken = other.machines if other is not ours else {}
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
            for name in _names(json.loads(found.spec).get("endpoint", {})):
                yield name, address


def _names(endpoint: Mapping[str, Mapping[str, object]]) -> Iterable[str]:
    for kind, facts in endpoint.items():
        if "subscription" in facts:
            yield str(facts["subscription"])
        elif "host" in facts:
            yield f"{facts['host']}:{facts.get('port', kind)}"
