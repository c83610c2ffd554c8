"""One machine belongs to one space of a server."""

import json
from dataclasses import dataclass, field

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveObject, LiveState
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position
from reconciler.plan.changes import Plan
from reconciler.server.planning.machines import Beside, machines
from reconciler.server.planning.planning import Planned

LISTENING = {"listening": {"host": "db-1.example.com", "port": 10933}}
POLLING = {"polling": {"subscription": "poll://k3v9x2m1"}}


@dataclass
class Space:
    """As much of a space as is asked for its machines."""

    name: str
    machines: dict[str, Address] = field(default_factory=dict)

    def has(self, name: str, endpoint: dict[str, object]) -> None:
        """Let it have carried out a worker."""
        self.machines = dict(machines(worker(name, endpoint)))


def worker(name: str, endpoint: dict[str, object]) -> dict[Address, LiveObject]:
    address = Address("Worker", name)
    spec = json.dumps({"pools": ["p"], "endpoint": endpoint})
    return {address: LiveObject(address, spec, "{}", "", Position("w.yaml", 1, 1), "")}


def planned(name: str, endpoint: dict[str, object]) -> Planned:
    desired = DesiredState("two", SpaceSpec(), worker(name, endpoint), "c", complete=True)  # type: ignore[arg-type]  # spec
    return Planned(Plan("two", "c", 0), desired, LiveState({}, {}))


def test_a_machine_of_another_space_is_refused_by_its_address_or_its_identity() -> None:
    for endpoint, machine in ((LISTENING, "db-1.example.com:10933"), (POLLING, "poll://k3v9x2m1")):
        one, two = Space("one"), Space("two")
        one.has("db-1", endpoint)
        claims = Beside(two, [one]).against
        assert claims(planned("database", endpoint)) == (
            f"Worker/database is the machine {machine}, which the space one declares as Worker/db-1: "
            "one machine belongs to one space"
        )


def test_its_own_machines_and_those_of_nobody_are_claimed() -> None:
    one, two = Space("one"), Space("two")
    two.has("db-1", LISTENING)
    claims = Beside(two, [one]).against
    assert claims(planned("db-1", LISTENING)) == ""
    assert claims(planned("db-2", POLLING)) == ""


def test_two_workers_of_two_spaces_at_two_ports_are_two_machines() -> None:
    one, two = Space("one"), Space("two")
    one.has("db-1", LISTENING)
    claims = Beside(two, [one]).against
    assert claims(planned("db-1", {"listening": {"host": "db-1.example.com", "port": 10934}})) == ""
