"""Bugs planted in the package, to see that several servers on one store show each of them."""

from dataclasses import replace

from reconciler.agent.life import Life
from reconciler.execute.grounds import LiveFleet
from reconciler.server.engine.leading import Lead
from reconciler.store import leadership
from tests.simulation.fleet_faults import COMMITS, NODE_FAULTS
from tests.simulation.fleet_plants import PLANTS, Plant
from tests.simulation.fleet_store import LEAD

CHANGES = tuple(NODE_FAULTS)
PAUSES = ("server paused before a write", "server paused")


def _whoever_led(tx, epoch) -> None:
    """Let everyone write."""


def _nobody(tx, now) -> None:
    """Say that nobody leads."""


def _without_a_new_epoch(tx, node, now):
    found = _taken(tx, node, now)
    tx.execute("UPDATE leadership SET epoch = 1")
    return 1 if isinstance(found, int) else found


_taken = leadership.take


def _renewed_by_nobody(self: Lead, tx) -> None:
    leadership.check(tx, self._epoch)


def _nothing(*_: object) -> None:
    """Do nothing."""


def _for_ever(tx, epoch, now) -> None:
    leadership.check(tx, epoch)
    tx.execute("UPDATE leadership SET until = ?", tx.now(now) + 60.0)


NODE_PLANTS: dict[str, Plant] = {
    "an engine that was deposed writes on": Plant(LEAD, ((leadership, "check", _whoever_led),), PAUSES),
    "the lead is taken while another node has it": Plant(LEAD, ((leadership, "leader", _nobody),), CHANGES),
    "an epoch does not rise": Plant(LEAD, ((leadership, "take", _without_a_new_epoch),), CHANGES),
    "the lead is not renewed": Plant(LEAD, ((Lead, "_renew", _nothing), (Lead, "guard", _renewed_by_nobody)), CHANGES),
    "the lead outlives its node for too long": Plant(LEAD, ((leadership, "renew", _for_ever),), PAUSES),
    "a worker that has left a pool gets its steps": Plant("G3", ((LiveFleet, "changed", _nothing),), tuple(COMMITS)),
    "what the former leader has of a log is not sent to the next one": Plant(
        "G8", ((Life, "rewind", _nothing),), CHANGES
    ),
} | {
    name: replace(PLANTS[name], kinds=(*kinds, *CHANGES), first=0)
    for name, kinds in (
        ("an attempt is repeated before there is proof", ()),
        ("an engine forgets what is held, and the store does not look", ()),
        ("acknowledged before it is durable", ("server loses power",)),
        ("forgotten before it is recorded", ()),
        ("cancelled is said without proof", ("cancel",)),
        ("a place is freed twice", ()),
        ("the end of a task frees nothing in memory", ()),
        ("what was recorded as ended is wanted for ever", ()),
    )
}
"""Of those of one server, one for each guarantee that a change of the lead could break."""
