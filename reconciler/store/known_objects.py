"""The live objects as one engine knows them: read once, and then again only those that its own writes have touched.

Every write of objects raises the serial in its own transaction, so no two writes share one. Where the writes that were
noted are all that lie between two serials, what they did not touch is the same at both; else everything is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

from reconciler.model.live import LiveObject
from reconciler.model.spec import Address
from reconciler.store import objects
from reconciler.store.counters import last_number
from reconciler.store.database import Transaction

NOTED_MAX = 256
"""Writes that are noted, the latest: a plan makes some, and each is followed by a look soon."""


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is durable: it has raised the serial from `before` to `after`, and touched some addresses at most."""

    before: int
    after: int
    addresses: frozenset[Address]


class KnownObjects:
    """Gives the objects at the serial of a transaction; may be asked by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._serial: int | None = None
        self._objects: Mapping[Address, LiveObject] = {}
        self._noted: dict[int, Written] = {}

    def note(self, written: Written) -> None:
        """Take in a write of this engine after it was committed.

        One from before what is known says that the database has gone back, as after a failover that lost commits, or
        that it was looked at before this was told: either way everything is read again.
        """
        with self._lock:
            if self._serial is not None and written.before < self._serial:
                self._serial, self._noted = None, {}
            self._noted[written.before] = written
            while len(self._noted) > NOTED_MAX:
                del self._noted[next(iter(self._noted))]

    def at(self, tx: Transaction) -> Mapping[Address, LiveObject]:
        """Return every object, in the order of kind and name."""
        serial = last_number(tx, "serial")
        with self._lock:
            since, known = self._serial, self._objects
            touched = None if since is None else self._touched(since, serial)
        if since == serial:
            return known
        found = objects.all_objects(tx) if touched is None else _mended(tx, known, touched)
        with self._lock:
            if self._serial is None or self._serial < serial:
                self._serial, self._objects = serial, found
                self._noted = {before: each for before, each in self._noted.items() if before >= serial}
        return found

    def _touched(self, since: int, serial: int) -> set[Address] | None:
        """Return what was written between two serials; None where that is not known."""
        touched: set[Address] = set()
        while since < serial:
            written = self._noted.get(since)
            if written is None:
                return None
            touched |= written.addresses
            since = written.after
        return touched if since == serial else None


def _mended(
    tx: Transaction, known: Mapping[Address, LiveObject], touched: Iterable[Address]
) -> Mapping[Address, LiveObject]:
    """Return `known` with what was touched as it is now."""
    found = dict(known)
    for address in touched:
        now = objects.one(tx, address)
        if now is not None:
            found[address] = now
        else:
            found.pop(address, None)
    if found.keys() - known.keys():
        return dict(sorted(found.items()))
    return found
