"""Which changes stand and fall together: what an object needs, and who still uses what leaves."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from pydantic import JsonValue

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.order import RANK
from reconciler.model.spec import Address
from reconciler.plan.changes import Action, Change

Neighbours = Callable[[Address], Iterable[Address]]


class Dependencies:
    """Who needs whom among the changes of one plan.

    An object needs what it names. An object that leaves, or leaves its name, needs the changes of those that still
    use it: a pool cannot go while a worker stays in it.
    """

    def __init__(self, changes: Iterable[Change], desired: DesiredState, live: LiveState) -> None:
        self._needs: dict[Address, list[Address]] = defaultdict(list)
        self._users: dict[Address, list[Address]] = defaultdict(list)
        for address, declared in desired.objects.items():
            for reference in declared.references:
                self._add(address, reference.target)
        for leaving, user in _still_used(list(changes), live):
            self._add(leaving, user)

    def _add(self, user: Address, needed: Address) -> None:
        self._needs[user].append(needed)
        self._users[needed].append(user)

    def with_needs(self, start: Iterable[Address]) -> set[Address]:
        """Return `start` and all that they need, whether it changes or not."""
        return _closure(start, lambda address: self._needs.get(address, ()))

    def with_users(self, start: Iterable[Address]) -> set[Address]:
        """Return `start` and all that need them, whether it changes or not."""
        return _closure(start, lambda address: self._users.get(address, ()))


def _closure(start: Iterable[Address], neighbours: Neighbours) -> set[Address]:
    found: set[Address] = set()
    waiting = list(start)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(neighbours(address))
    return found


def _still_used(changes: list[Change], live: LiveState) -> Iterator[tuple[Address, Address]]:
    """Yield each change that takes a name away with each change of an object whose live version names it.

    A name that stands anywhere in the live version counts, so that pools in variables and templates in steps are
    seen without their kinds' models: rather one dependency too many than a worker in a pool that is gone.
    """
    leaving: dict[str, list[tuple[Address, Address]]] = defaultdict(list)
    for change in changes:
        if change.action is Action.REMOVE or change.former is not None:
            gone = change.former or change.address
            leaving[gone.name].append((gone, change.address))
    if not leaving:
        return
    for change in changes:
        user = change.former or change.address
        before = live.objects.get(user)
        if before is not None:
            for name in leaving.keys() & set(_words(json.loads(before.spec))):
                for gone, address in leaving[name]:
                    if RANK[gone.kind] <= RANK[user.kind]:
                        yield address, change.address


def _words(value: JsonValue) -> Iterator[str]:
    """Yield every text in a value, keys included; of a tag `tagset/tag` the set."""
    match value:
        case str():
            yield value.partition("/")[0]
        case list():
            for item in value:
                yield from _words(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from _words(item)
        case _:
            return
