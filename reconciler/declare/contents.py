"""The objects of a space, gathered for the checks, and counts that say at once where a check has nothing to find.

Both follow an edit at the cost of what it touches; what they come to is the same as if all had been gathered anew.
"""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TypeVar

from reconciler.model.desired import Declared
from reconciler.model.order import IMPLICIT
from reconciler.model.spec import Address

Word = TypeVar("Word", bound=Hashable)

CLAIM = re.compile(r'"(?:host|subscription)":"[^"]*"|"SHA256:[^"]*"')
"""What machines are known by, in canonical JSON."""

OWN_HOSTS = ("localhost", "127.", "::1")
"""What the names of the server's own machine begin with."""

OWN_HOST = re.compile('"host":"(?:' + "|".join(map(re.escape, OWN_HOSTS)) + ")")

MACHINES = frozenset({"Worker", "DeploymentTarget"})
"""Kinds of which one machine is declared once."""


class Tally:
    """Counts over objects."""

    def __init__(self, declared: Iterable[Declared] = ()) -> None:
        self._addresses: dict[Address, int] = {}
        self._targets: dict[Address, int] = {}
        self._claims: dict[str, int] = {}
        self._shared: set[str] = set()
        self._users: dict[str, int] = {}
        self.members: Counter[str] = Counter()
        """How often workers say that they are in a pool, by its name."""
        self.renamed = 0
        """Objects that say how they were called before."""
        self.own_hosts = 0
        """Workers that may be on the server's own machine."""
        for item in declared:
            self.add(item)

    def add(self, item: Declared) -> None:
        """Count one more object."""
        self._count(item, 1)

    def remove(self, item: Declared) -> None:
        """Count an object no more."""
        self._count(item, -1)

    @property
    def distinct(self) -> int:
        """How many addresses are declared."""
        return len(self._addresses)

    @property
    def dangles(self) -> bool:
        """Does some object name another one that is not there?"""
        return bool(self._targets.keys() - self._addresses.keys() - IMPLICIT)

    @property
    def is_claimed_twice(self) -> bool:
        """Do two machines share a host, subscription or thumbprint?"""
        return bool(self._shared)

    @property
    def uses_empty_pool(self) -> bool:
        """Does something other than a worker name a pool that no worker is in?"""
        return bool(self._users.keys() - self.members.keys())

    def _count(self, item: Declared, by: int) -> None:
        kind = item.address.kind
        _add(self._addresses, item.address, by)
        for reference in item.references:
            target = reference.target
            _add(self._targets, target, by)
            if target.kind == "WorkerPool":
                _add(self.members if kind == "Worker" else self._users, target.name, by)
        if item.renamed_from is not None:
            self.renamed += by
        if kind in MACHINES:
            for word in set(CLAIM.findall(item.spec)):
                if _add(self._claims, word, by) > 1:
                    self._shared.add(word)
                else:
                    self._shared.discard(word)
            if kind == "Worker" and OWN_HOST.search(item.spec):
                self.own_hosts += by


def _add(counts: MutableMapping[Word, int], word: Word, by: int) -> int:
    """Change a count and return it; what is counted no more has none."""
    count = counts.get(word, 0) + by
    if count:
        counts[word] = count
    else:
        del counts[word]
    return count


@dataclass(frozen=True, slots=True)
class Contents:
    """All objects in the order of their files, the first of each address, those of each kind, and their tally."""

    declared: tuple[Declared, ...]
    objects: Mapping[Address, Declared]
    kinds: Mapping[str, list[Declared]]
    tally: Tally

    @classmethod
    def of(cls, declared: Iterable[Declared]) -> "Contents":
        """Gather objects, which come in the order of their files."""
        whole = tuple(declared)
        kinds: dict[str, list[Declared]] = {}
        for item in whole:
            kinds.setdefault(item.address.kind, []).append(item)
        tally = Tally(whole)
        return cls(whole, _first_of_each(whole, tally), kinds, tally)

    def after(self, declared: Iterable[Declared], gone: Collection[Declared], come: Collection[Declared]) -> "Contents":
        """Gather objects that differ from these by what is `gone` and what has `come`; these must not be used then."""
        for item in gone:
            self.tally.remove(item)
        for item in come:
            self.tally.add(item)
        whole = tuple(declared)
        touched = {item.address.kind for item in (*gone, *come)}
        kinds = {kind: found for kind, found in self.kinds.items() if kind not in touched}
        for kind in touched:
            if found := [item for item in whole if item.address.kind == kind]:
                kinds[kind] = found
        return Contents(whole, _first_of_each(whole, self.tally), kinds, self.tally)


def _first_of_each(declared: tuple[Declared, ...], tally: Tally) -> dict[Address, Declared]:
    objects = {item.address: item for item in declared}
    if tally.distinct < len(declared):
        for item in reversed(declared):
            objects[item.address] = item
    return objects
