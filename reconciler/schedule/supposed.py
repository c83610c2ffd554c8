"""A fleet as it would be: every enabled worker healthy, and pools with more or fewer of them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from reconciler.model.live import SeenWorker, WorkerHealth, WorkerStatus
from reconciler.schedule.fleet import Fleet, Member
from reconciler.schedule.limits import STOP

NEW = "new"
"""What supposed workers of a pool are called by, with the pool before it and a number after it."""

LIMITS = ("limit.memory", "limit.cpus", "limit.processes")
"""The limits that an agent can promise."""


@dataclass(frozen=True, slots=True)
class Resize:
    """How many enabled workers a pool has: `count` more or fewer (negative), or exactly so many."""

    pool: str
    count: int
    is_exact: bool = False

    @property
    def words(self) -> str:
        """How the change is called in a sentence."""
        more = "" if self.is_exact else "more " if self.count >= 0 else "fewer "
        count = abs(self.count)
        return f"{count or 'no'} {more}worker{'' if count == 1 else 's'} in {self.pool}"


def healthy(fleet: Fleet) -> Fleet:
    """Return the fleet with every enabled worker connected, keeping what is declared of it.

    What an agent has told stands. Of one that was never met the isolation and the limits are taken for granted, and no
    capability but those that its document declares.
    """
    return replace(fleet, workers={name: _healthy(member) for name, member in fleet.workers.items()})


def resized(fleet: Fleet, resize: Resize) -> Fleet:
    """Return the fleet with another number of enabled workers in a pool that exists, is static, and has enough to lose.

    New workers are like the pool's first one by name, or plain ones; the last ones by name leave first.
    """
    pool, present = fleet.pools[resize.pool], enabled(fleet, resize.pool)
    wanted = resize.count if resize.is_exact else len(present) + resize.count
    leaving = {member.name for member in present[wanted:]}
    coming = list(_new(pool.name, present, wanted - len(present), fleet.workers))
    workers = {
        name: replace(member, pools=tuple(other for other in member.pools if other != pool.name))
        if name in leaving
        else member
        for name, member in fleet.workers.items()
    } | {member.name: member for member in coming}
    kept = [name for name in pool.workers if name not in leaving]
    members = (*kept, *(member.name for member in coming))
    return replace(fleet, workers=workers, pools={**fleet.pools, pool.name: replace(pool, workers=members)})


def enabled(fleet: Fleet, pool: str) -> list[Member]:
    """Return the enabled workers of a pool, in the order of their names."""
    return [member for name in sorted(fleet.pools[pool].workers) if (member := fleet.workers[name]).state == "enabled"]


def _new(pool: str, present: list[Member], count: int, taken: Collection[str]) -> Iterator[Member]:
    pattern = present[0] if present else _healthy(Member("", (pool,), "polling"))
    number = 0
    while count > 0:
        number += 1
        name = f"{pool}-{NEW}-{number}"
        if name not in taken:
            count -= 1
            yield replace(pattern, name=name, pools=(pool,))


def _healthy(member: Member) -> Member:
    if member.state != "enabled":
        return member
    seen = member.status.seen if member.status is not None else None
    if seen is None:
        seen = SeenWorker(0.0, "", "", "", "", 0, dict(_granted(member)))
    return replace(member, status=WorkerStatus(member.name, WorkerHealth.HEALTHY, 0.0, "", seen))


def _granted(member: Member) -> Iterator[tuple[str, str]]:
    """Yield what an agent that was never met is taken to promise."""
    yield STOP, ""
    yield f"isolation.{member.isolation}", ""
    if member.run_as:  # else its account stays the agent's own
        yield "isolation.user", member.run_as
    for name in LIMITS:
        yield name, ""
