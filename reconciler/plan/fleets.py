"""The fleet as it is and as changes would leave it, both as their workers were last seen."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.plan.changes import Action, Change
from reconciler.schedule.fleet import Described, Fleet, fleet_of, seen_as
from reconciler.schedule.formers import formers_of

T = TypeVar("T")


def fleets(changes: Iterable[Change], desired: DesiredState, live: LiveState) -> tuple[Fleet, Fleet]:
    """Return the fleet before and after these changes, and no others of `desired`.

    A worker that is renamed is as it was seen under its former name; another machine was never seen.
    """
    made = list(changes)
    seen = seen_as(live.workers, formers_of(live.objects, live.leaving, live.occupants))
    before = fleet_of(live.objects, _space(live.objects), seen, live.overrides)
    workers = [change for change in made if change.address.kind == "Worker"]
    names = {change.address.name: change.former.name for change in workers if change.former is not None}
    unmet = {change.address.name for change in workers if change.action in {Action.CREATE, Action.REPLACE}}
    known = {name: status for name, status in _renamed(seen, names).items() if name not in unmet}
    objects = _after(made, desired, live)
    return before, fleet_of(objects, _space(objects), known, _renamed(live.overrides, names))


def _after(changes: list[Change], desired: DesiredState, live: LiveState) -> dict[Address, Described]:
    gone = {change.former or change.address for change in changes}
    stay: dict[Address, Described] = {address: item for address, item in live.objects.items() if address not in gone}
    made = (change.address for change in changes if change.action is not Action.REMOVE)
    return stay | {address: desired.objects[address] for address in made}


def _renamed(known: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """Return what is known of workers, of those with new `names` what is known of the former ones."""
    others = {name: item for name, item in known.items() if name not in {*names, *names.values()}}
    return others | {name: known[former] for name, former in names.items() if former in known}


def _space(objects: Mapping[Address, Described]) -> SpaceSpec:
    found = next((item for address, item in objects.items() if address.kind == "Space"), None)
    return SpaceSpec.parse(found.spec) if found else SpaceSpec.model_construct()
