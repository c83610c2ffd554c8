"""What is held of every bounded resource: claimed all or nothing, each claim under a token that rises, freed in one place."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.schedule.requests import Claim
from reconciler.store.database import Transaction

_FREE = "DELETE FROM claims WHERE holder IN (SELECT column1 FROM {rows}) RETURNING holder, resource, alone"
_FREE_SHARED = (
    "DELETE FROM claims WHERE alone = 0 AND holder IN (SELECT column1 FROM {rows}) RETURNING holder, resource, alone"
)


class OccupiedError(Exception):
    """Somebody else has what was to be claimed; whoever decides sees it, and decides again."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one holder wants to claim, and the bounds of the resources that have one."""

    holder: str
    claims: tuple[Claim, ...]
    capacities: Mapping[str, int]


@dataclass(slots=True)
class _Resource:
    capacity: int | None
    used: int
    alone: str
    fence: int


def claim(tx: Transaction, holder: str, claims: Iterable[Claim], capacities: Mapping[str, int]) -> dict[str, int]:
    """Claim everything for `holder` and return the token of each resource; a resource without a capacity has no bound.

    Raises OccupiedError, and nothing was claimed, where one of them has no room.
    """
    (found,) = claim_all(tx, [Wish(holder, tuple(claims), capacities)])
    if isinstance(found, OccupiedError):
        raise found
    return found


def claim_all(tx: Transaction, wishes: Sequence[Wish]) -> list[dict[str, int] | OccupiedError]:
    """Claim for several holders, one after the other: each gets all that it wants with the tokens, or nothing and why."""
    resources = _resources(tx, {claim.resource for wish in wishes for claim in wish.claims})
    found = [_claimed(resources, wish) for wish in wishes]
    claimed = [
        (wish.holder, claim.resource, int(claim.alone), tokens[claim.resource])
        for wish, tokens in zip(wishes, found, strict=True)
        if not isinstance(tokens, OccupiedError)
        for claim in wish.claims
    ]
    changed = {resource for _, resource, _, _ in claimed}
    tx.batch(
        "INSERT INTO resources (name, capacity, used, alone, fence) SELECT * FROM {rows} WHERE true"
        " ON CONFLICT (name) DO UPDATE SET capacity = excluded.capacity, used = excluded.used, alone = excluded.alone,"
        " fence = excluded.fence",
        ("text", "integer", "integer", "text", "integer"),
        [(name, one.capacity, one.used, one.alone, one.fence) for name in sorted(changed) for one in [resources[name]]],
    )
    tx.batch(
        "INSERT INTO claims (holder, resource, alone, token) SELECT * FROM {rows}",
        ("text", "text", "integer", "integer"),
        claimed,
    )
    return found


def _resources(tx: Transaction, names: Iterable[str]) -> dict[str, _Resource]:
    """Read resources as they are; one that nobody claimed before begins above every fence that was forgotten."""
    rows = tx.batch(
        "SELECT column1, capacity, COALESCE(used, 0), COALESCE(alone, ''), COALESCE(fence,"
        " (SELECT value FROM counters WHERE counters.name = 'fences'), 0)"
        " FROM {rows} LEFT JOIN resources ON resources.name = column1",
        ("text",),
        [(name,) for name in names],
    )
    return {name: _Resource(*rest) for name, *rest in rows}


def _claimed(resources: Mapping[str, _Resource], wish: Wish) -> dict[str, int] | OccupiedError:
    """Take what one holder wants, all or nothing."""
    for wanted in sorted(wish.claims):
        capacity, found = wish.capacities.get(wanted.resource), resources[wanted.resource]
        if found.alone:
            return OccupiedError(f"{wanted.resource} is held by {found.alone}")
        if (wanted.alone and found.used) or (capacity is not None and found.used >= capacity):
            bound = f" of {capacity}" if capacity is not None else ""
            return OccupiedError(f"{wanted.resource} is in use, {found.used}{bound}")
    for wanted in wish.claims:
        found = resources[wanted.resource]
        found.capacity = wish.capacities.get(wanted.resource)
        found.used, found.fence = found.used + 1, found.fence + 1
        found.alone = wish.holder if wanted.alone else ""
    return {wanted.resource: resources[wanted.resource].fence for wanted in wish.claims}


def release(tx: Transaction, holder: str, *, lost: bool = False) -> None:
    """Free what `holder` holds; of a lost one only what it shared. Harmless where it holds nothing."""
    release_all(tx, [holder], lost=lost)


def release_all(tx: Transaction, holders: Iterable[str], *, lost: bool = False) -> None:
    """Free what each of `holders` holds; of lost ones only what they shared. Nothing else frees but `loosen`."""
    _freed(tx, tx.batch(_FREE_SHARED if lost else _FREE, ("text",), [(holder,) for holder in holders]))


def loosen(tx: Transaction, holder: str, resource: str) -> None:
    """Free one claim before the rest."""
    _freed(
        tx,
        tx.all(
            "DELETE FROM claims WHERE holder = ? AND resource = ? RETURNING holder, resource, alone", holder, resource
        ),
    )


def _freed(tx: Transaction, rows: Sequence[tuple[str, str, int]]) -> None:
    """Count down the resources of claims that are gone."""
    freed = Counter(resource for _, resource, _ in rows)
    had_alone = {resource: holder for holder, resource, alone in rows if alone}
    tx.batch(
        "UPDATE resources SET used = used - column2, alone = CASE WHEN alone = column3 THEN '' ELSE alone END"
        " FROM {rows} WHERE name = column1",
        ("text", "integer", "text"),
        [(resource, count, had_alone.get(resource, "")) for resource, count in sorted(freed.items())],
    )


def held(tx: Transaction) -> dict[str, list[Claim]]:
    """Return what each holder holds."""
    found: dict[str, list[Claim]] = {}
    for holder, resource, alone in tx.all("SELECT holder, resource, alone FROM claims ORDER BY holder, resource"):
        found.setdefault(holder, []).append(Claim(resource, bool(alone)))
    return found


def token(tx: Transaction, holder: str, resource: str) -> int | None:
    """Return the token under which `holder` holds the resource; None where it does not."""
    row = tx.one("SELECT token FROM claims WHERE holder = ? AND resource = ?", holder, resource)
    return int(row[0]) if row else None


def mismatches(tx: Transaction) -> list[str]:
    """Count everything anew and say in words what does not agree; each is a fault of the program."""
    counted = {
        resource: (count, holder or "")
        for resource, count, holder in tx.all(
            "SELECT resource, COUNT(*), MAX(CASE WHEN alone = 1 THEN holder END) FROM claims GROUP BY resource"
        )
    }
    found = []
    for name, used, alone in tx.all("SELECT name, used, alone FROM resources ORDER BY name"):
        count, holder = counted.get(name, (0, ""))
        if (used, alone) != (count, holder):
            found.append(
                f"{name} counts {used} claims, alone {alone or 'nobody'}; there are {count}, alone {holder or 'nobody'}"
            )
    stale = tx.all(
        "SELECT holder, resource FROM claims LEFT JOIN attempts ON attempts.ticket = claims.holder"
        " LEFT JOIN tasks ON claims.holder = 'task/' || CAST(tasks.id AS TEXT)"
        " WHERE COALESCE(attempts.finished_at, tasks.finished_at) IS NOT NULL OR COALESCE(attempts.task, tasks.id) IS NULL"
        " ORDER BY holder, resource"
    )
    return [*found, *(f"{holder} holds {resource} and has ended" for holder, resource in stale)]
