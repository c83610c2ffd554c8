"""Look at a state without owning it: what commands that only read stand on."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.model.errors import UsageMistake
from reconciler.server.place import Place
from reconciler.store.readers import Readers, open_for_reading


@contextmanager
def looking(place: Place) -> Iterator[Readers]:
    """Open the state for reading; raises UsageMistake where there is none yet, StateUnreadable where it is broken."""
    readers = open_for_reading(place.data)
    if readers is None:
        raise UsageMistake(f"there is no state in {place.data} yet", "apply something first: reconcile apply")
    with readers:
        yield readers
