"""What a plan takes from pools just now: what runs on workers that would drain or leave, and what their pools keep."""

import json
from collections.abc import Iterable, Iterator

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Occupant
from reconciler.plan.changes import Action, Change, LiveFact
from reconciler.plan.fleets import fleets
from reconciler.schedule.fleet import Fleet, Member

ENDINGS = {"draining": "would drain", "disabled": "would take nothing new"}
"""What a state that Git gives to a worker means for it."""


def ending_workers(changes: Iterable[Change], desired: DesiredState) -> dict[str, str]:
    """Return what becomes of each live worker that would take nothing new any more, by its name of now."""
    found = {}
    for change in changes:
        if change.address.kind != "Worker" or change.action is Action.CREATE:
            continue
        name = (change.former or change.address).name
        if change.action in {Action.REMOVE, Action.REPLACE}:
            found[name] = "would drain and leave" if change.action is Action.REMOVE else "would be another machine"
        elif any(field.path == "state" for field in change.fields):
            state = json.loads(desired.objects[change.address].spec).get("state", "enabled")
            if state in ENDINGS:
                found[name] = ENDINGS[state]
    return found


def forecast(changes: Iterable[Change], desired: DesiredState, live: LiveState) -> Iterator[LiveFact]:
    """Yield for each worker that would end what runs there and what its pools keep; of one never met nothing is known."""
    made = list(changes)
    ending = ending_workers(made, desired)
    known = [name for name in sorted(ending) if name in live.workers or live.occupants.get(name)]
    if not known:
        return
    before, after = fleets(made, desired, live)
    for name in known:
        here = live.occupants.get(name, ())
        kept = ", ".join(_kept(pool, before, after) for pool in before.workers[name].pools if pool in after.pools)
        yield LiveFact(f"Worker/{name} {ending[name]}: {_running(here, live.at)}{f'; {kept}' if kept else ''}")


def _running(here: tuple[Occupant, ...], now: float) -> str:
    if not here:
        return "nothing runs there"
    each = ", ".join(f"{one.deployment} since {_age(now - one.granted_at)}" for one in here)
    return f"{len(here)} attempt{'s run' if len(here) > 1 else ' runs'} there ({each})"


def _age(seconds: float) -> str:
    """Say how long something takes already: `12 s`, `4 min`, `3 h`."""
    for size, unit in ((3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _kept(pool: str, before: Fleet, after: Fleet) -> str:
    was, stays = _enabled(pool, before), _enabled(pool, after)
    words = f"the pool {pool} keeps {len(stays)} of {len(was)} workers that take work"
    if all(member.slots is not None for member in was):
        words += f" and {_slots(stays)} of {_slots(was)} slots"
    return words


def _enabled(pool: str, fleet: Fleet) -> list[Member]:
    names = fleet.pools[pool].workers if pool in fleet.pools else ()
    return [fleet.workers[name] for name in names if fleet.workers[name].state == "enabled"]


def _slots(members: Iterable[Member]) -> int:
    return sum(member.slots or 0 for member in members)
