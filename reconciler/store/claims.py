"""What is held of every bounded resource: claimed all or nothing, each claim under a token that rises, freed in one place."""

from collections.abc import Iterable, Mapping

from reconciler.schedule.requests import Claim
from reconciler.store.database import Transaction


class OccupiedError(Exception):
    """Somebody else has what was to be claimed; whoever decides sees it, and decides again."""


def claim(tx: Transaction, holder: str, claims: Iterable[Claim], capacities: Mapping[str, int]) -> dict[str, int]:
    """Claim everything for `holder` and return the token of each resource; a resource without a capacity has none.

    Raises OccupiedError, and the transaction is to be undone, where one of them has no room. They are taken in the order of
    their names, so that two who claim the same never wait for each other.
    """
    return {one.resource: _claim(tx, holder, one, capacities.get(one.resource)) for one in sorted(claims)}


def _claim(tx: Transaction, holder: str, wanted: Claim, capacity: int | None) -> int:
    row = None
    if capacity is None or capacity > 0:
        row = tx.one(
            "INSERT INTO resources (name, capacity, used, alone, fence) VALUES (?, ?, 1, ?, 1 +"
            " COALESCE((SELECT value FROM counters WHERE counters.name = 'fences'), 0)) ON CONFLICT (name) DO UPDATE"
            " SET capacity = excluded.capacity, used = resources.used + 1, alone = excluded.alone,"
            " fence = resources.fence + 1 WHERE resources.alone = '' AND (excluded.alone = '' OR resources.used = 0)"
            " AND (excluded.capacity IS NULL OR resources.used < excluded.capacity) RETURNING fence",
            *(wanted.resource, capacity, holder if wanted.alone else ""),
        )
    if row is None:
        raise _occupied(tx, wanted.resource, capacity)
    tx.execute(
        "INSERT INTO claims (holder, resource, alone, token) VALUES (?, ?, ?, ?)",
        *(holder, wanted.resource, int(wanted.alone), row[0]),
    )
    return int(row[0])


def _occupied(tx: Transaction, resource: str, capacity: int | None) -> OccupiedError:
    row = tx.one("SELECT used, alone FROM resources WHERE name = ?", resource)
    used, alone = row or (0, "")
    if alone:
        return OccupiedError(f"{resource} is held by {alone}")
    return OccupiedError(f"{resource} is in use, {used}{f' of {capacity}' if capacity is not None else ''}")


def release(tx: Transaction, holder: str, *, lost: bool = False) -> None:
    """Free what `holder` holds; of a lost one only what it shared. Harmless where it holds nothing: nothing else frees."""
    _free(tx, holder, tx.all("SELECT resource FROM claims WHERE holder = ? AND alone <= ?", holder, int(not lost)))


def loosen(tx: Transaction, holder: str, resource: str) -> None:
    """Free one claim before the rest."""
    _free(tx, holder, tx.all("SELECT resource FROM claims WHERE holder = ? AND resource = ?", holder, resource))


def _free(tx: Transaction, holder: str, rows: Iterable[tuple[str]]) -> None:
    for (resource,) in rows:
        tx.execute(
            "UPDATE resources SET used = used - 1, alone = CASE WHEN alone = ? THEN '' ELSE alone END WHERE name = ?",
            *(holder, resource),
        )
        tx.execute("DELETE FROM claims WHERE holder = ? AND resource = ?", holder, resource)


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
