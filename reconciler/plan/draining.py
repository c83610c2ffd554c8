"""What a plan takes from pools just now: what runs on workers that would drain or leave, and who could run it instead."""

import json
from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Occupant, Task
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.plan.changes import Action, Change, LiveFact, title
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.fleet import Fleet, Member, fleet_of
from reconciler.schedule.placement import Placed, PoolChoice, place
from reconciler.schedule.variables import VariableContext

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
    ending = ending_workers(changes, desired)
    known = [name for name in sorted(ending) if name in live.workers or live.occupants.get(name)]
    if not known:
        return
    before, after = fleets(desired, live)
    for name in known:
        here = live.occupants.get(name, ())
        kept = ", ".join(_kept(pool, before, after) for pool in before.workers[name].pools if pool in after.pools)
        yield LiveFact(f"Worker/{name} {ending[name]}: {_running(here, live.at)}{f'; {kept}' if kept else ''}")


def stranded(changes: Iterable[Change], desired: DesiredState, live: LiveState) -> Mapping[Address, str]:
    """Say of each change after which nobody can take a step of an unfinished task, though somebody can now, which one.

    The steps are those that are declared and that the task has not done yet.
    """
    workers = [change for change in changes if change.address.kind == "Worker"]
    gone = ending_workers(workers, desired)
    if not gone or all(task.state.ended for task in live.last_tasks.values()):
        return {}
    before, after = fleets(desired, live)
    found: dict[Address, str] = {}
    for task, step, choice in _unfinished_steps(live):
        environment = task.slot.environment
        now, then = (isinstance(place(step, choice, fleet, environment), Placed) for fleet in (before, after))
        if now and not then:
            words = f'"{step.name}" of {title(task.deployment, task.slot)} (task {task.id}) in the pool {choice.pool}'
            for change in workers:
                name = (change.former or change.address).name
                if name in gone and choice.pool in before.workers[name].pools:
                    found.setdefault(change.address, words)
    return found


def _unfinished_steps(live: LiveState) -> Iterator[tuple[Task, Step, PoolChoice]]:
    """Yield the steps that unfinished tasks have still to run on workers, each with its pool as it is declared now."""
    whereabouts = Whereabouts.of(live.objects, _space(live), live.workers, live.overrides)
    for task in live.last_tasks.values():
        declared = live.objects.get(Address("Project", task.slot.project))
        if task.state.ended or declared is None:
            continue
        project = ProjectSpec.parse(declared.spec)
        for step in project.process:
            if step.disabled or step.action[0] == "manual" or step.key in live.done.get(task.id, ()):
                continue
            context = VariableContext(task.slot.environment, task.slot.tenant, (), step.key, task.slot.project)
            choice = whereabouts.choice(step, project, context)
            if isinstance(choice, PoolChoice):
                yield task, step, choice


def fleets(desired: DesiredState, live: LiveState) -> tuple[Fleet, Fleet]:
    """Return the fleet as it is and as it would be, both as workers were last seen."""
    before = fleet_of(live.objects, _space(live), live.workers, live.overrides)
    return before, fleet_of(desired.objects, desired.space, live.workers, live.overrides)


def _space(live: LiveState) -> SpaceSpec:
    found = next((item for address, item in live.objects.items() if address.kind == "Space"), None)
    return SpaceSpec.parse(found.spec) if found else SpaceSpec.model_construct()


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
