"""The machines that the spaces of one database claim, each in its own schema; who claims looks into all of them in one turn.

PostgreSQL alone holds several spaces: elsewhere there is nobody else to look at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.spec import Address
from reconciler.store.database import Transaction

TURN = "SELECT pg_advisory_xact_lock(hashtext('reconciler: the machines of all spaces'))"


@dataclass(frozen=True, slots=True)
class Taken:
    """A machine that another space has claimed, and what it is called there."""

    machine: str
    space: str
    address: Address


def claim(tx: Transaction, wanted: Mapping[str, Address], others: Sequence[str]) -> Taken | None:
    """Claim the `wanted` machines for this space, and no more; where the space of another schema has one, nothing is.

    `others` are the names of schemas, which may not be there yet.
    """
    tx.one(TURN)
    for space in others:
        if taken := _taken(tx, space, wanted):
            return taken
    ours = _claimed(tx, "machines")
    names = {machine: str(address) for machine, address in wanted.items()}
    gone = [(machine,) for machine in ours if names.get(machine) != ours[machine]]
    fresh = [(machine, name) for machine, name in names.items() if ours.get(machine) != name]
    tx.many("DELETE FROM machines WHERE machine = ?", gone)
    tx.many("INSERT INTO machines (machine, address) VALUES (?, ?)", fresh)
    return None


def _taken(tx: Transaction, space: str, wanted: Mapping[str, Address]) -> Taken | None:
    table = f'"{space}".machines'
    there = tx.one("SELECT to_regclass(?) IS NOT NULL", table)
    claimed = _claimed(tx, table) if there is not None and there[0] else {}
    machine = next(iter(sorted(claimed.keys() & wanted.keys())), None)
    return Taken(machine, space, Address.parse(claimed[machine])) if machine is not None else None


def _claimed(tx: Transaction, table: str) -> dict[str, str]:
    return dict(tx.all(f"SELECT machine, address FROM {table}"))  # noqa: S608 - the name of a space is letters and dashes
