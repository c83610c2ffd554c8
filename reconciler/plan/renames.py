"""Renames: those that are declared, and those that look like one."""

import json
from collections.abc import Iterable, Mapping

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.spec import Address
from reconciler.plan.changes import Action, Change


def declared(desired: DesiredState, live: LiveState) -> Mapping[Address, Address]:
    """Map new addresses to former ones: where `renamedFrom` names a live object that is no longer declared.

    Of several that claim one former object the first by name has it; an identity cannot be shared.
    """
    found: dict[Address, Address] = {}
    taken: set[Address] = set()
    renamed = [
        (address, item.renamed_from) for address, item in desired.objects.items() if item.renamed_from is not None
    ]
    for address, name in sorted(renamed):
        if address in live.objects:
            continue
        former = Address(address.kind, name)
        if former in live.objects and former not in desired.objects and former not in taken:
            found[address] = former
            taken.add(former)
    return found


def guesses(changes: list[Change], desired: DesiredState, live: LiveState) -> Iterable[str]:
    """Yield a warning for each removal and creation that are one object under two names."""
    gone = {
        (change.address.kind, essence(live.objects[change.address].spec)): change.address
        for change in changes
        if change.action is Action.REMOVE
    }
    if not gone:
        return
    for change in changes:
        if change.action is Action.CREATE:
            former = gone.get((change.address.kind, essence(desired.objects[change.address].spec)))
            if former is not None:
                yield (
                    f"{former} leaves and {change.address} comes with the same content: if it is a rename, write "
                    f"renamedFrom: {former.name} in its metadata to keep its registration and history"
                )


def essence(spec: str) -> str:
    """Return what makes two documents one thing: a machine's endpoint, else the whole spec."""
    loaded = json.loads(spec)
    return json.dumps(loaded["endpoint"], sort_keys=True) if "endpoint" in loaded else spec
