"""Look at a state without owning it: what commands that only read stand on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.model.errors import UsageMistake
from reconciler.server.state.place import Place
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.reader import Reader, open_for_reading


@contextmanager
def looking(place: Place) -> Iterator[Reader]:
    """Open the state for reading; raises UsageMistake where there is none yet, StateUnreadable where it is broken."""
    readers = open_for_reading(place.data)
    if readers is None:
        refuse_several(place, "name one of them: --data {folder}")
        raise UsageMistake(
            f"there is no state in {place.data} yet",
            "the first apply makes it, or a server: reconcile apply, or reconcile serve",
        )
    with readers:
        yield readers


def refuse_several(place: Place, hint: str) -> None:
    """Raise UsageMistake for the directory of a server, which has a folder for each space; `hint` says `{folder}`."""
    root = place.files.root
    if is_address(place.data) or not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return
    if place.files.state.exists():
        return
    spaces = sorted(folder.name for folder in root.iterdir() if os.access(DataDirectory(folder).state, os.F_OK))
    if spaces:
        raise UsageMistake(
            f"{root} holds the states of {len(spaces)} space{'s' if len(spaces) > 1 else ''}: {', '.join(spaces)}",
            hint.format(folder=root / spaces[0]),
        )


def engine_runs(files: DataDirectory) -> bool:
    """Say whether an engine owns a data directory now.

    One that has ended leaves its lock empty. What one that was killed left is told from a live one by asking for a
    share of the lock, which is given back at once.
    """
    try:
        descriptor = os.open(files.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not os.read(descriptor, 1):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
