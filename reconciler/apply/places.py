"""Where live objects are declared: other lines and the names of files move while an object itself stays as it is.

What a damaged file may not take away is what the live state holds from it, so its places follow every commit.
"""

from collections.abc import Callable, Collection, Mapping

from reconciler.model.desired import Declared
from reconciler.model.live import LiveObject
from reconciler.model.spec import Address, Position
from reconciler.store import objects
from reconciler.store.database import Transaction
from reconciler.store.known_objects import Written
from reconciler.store.writer import Store

Places = Collection[tuple[Address, Position]]
Check = Callable[[Transaction], None]


def moved(
    desired: Mapping[Address, Declared], live: Mapping[Address, LiveObject], changed: Collection[Address] = ()
) -> Places:
    """Return where objects of the live state are declared now, of those that stood elsewhere and are not `changed`."""
    return [
        (address, declared.position)
        for address, declared in desired.items()
        if address in live and live[address].position != declared.position and address not in changed
    ]


async def follow(store: Store, places: Places, check: Check = lambda _: None) -> int:
    """Record the places, if there are any, after a check; returns by how much the serial has risen."""
    if not places:
        return 0

    def work(tx: Transaction) -> Written:
        check(tx)
        objects.move(tx, places)
        serial = objects.next_serial(tx)
        return Written(serial - 1, serial, frozenset(address for address, _ in places))

    store.known.note(await store.write(work))
    return 1
