"""What a world plays of the machine beside time, disk and network: names drawn by chance, other processes, boots."""

import random
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.agent import life
from reconciler.execute import link, records
from reconciler.server.engine import leading
from reconciler.store import database


class _Chance:
    """In place of the module `secrets` where attempts are named: the same names in each run."""

    def __init__(self) -> None:
        self._count = 0
        self._thread = threading.get_ident()

    def token_hex(self, length: int) -> str:
        if threading.get_ident() != self._thread:
            return secrets.token_hex(length)
        self._count += 1
        return f"{self._count:0{2 * length}x}"


class _Pauses:
    """In place of the module `random` where pauses are scattered: the same ones in each run.

    A thread that another test has left may draw at any moment, and draws from elsewhere.
    """

    def __init__(self) -> None:
        self._ours = random.Random(0)
        self._thread = threading.get_ident()

    def uniform(self, least: float, most: float) -> float:
        chance = self._ours if threading.get_ident() == self._thread else random
        return chance.uniform(least, most)


class Ends:
    """In place of an event that a thread waits for: no turn is left, or it is over."""

    def __init__(self) -> None:
        self.turns = 0
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def wait(self, _: float) -> bool:
        self.turns -= 1
        return self._is_set or self.turns < 0


class Thread:
    """In place of a thread that does one thing now and then: whoever conducts the world gives it each turn."""

    def __init__(self, target: Callable[[], None], name: str, *, daemon: bool) -> None:
        self._target = target

    def start(self) -> None:
        """Begin with the first turn."""

    def join(self) -> None:
        """Wait for nothing: between two turns it has ended."""

    def turn(self, ends: Ends) -> None:
        """Go once around the loop."""
        ends.turns = 1
        self._target()


class _Threads:
    """In place of the module `threading` where the lead is renewed."""

    Event = Ends
    Thread = Thread


@contextmanager
def played(sweep: Callable[[str], bool], boot_id: Callable[[], str]) -> Iterator[None]:
    """Let the package draw the same names and pauses in each run, and ask the world for processes and boots."""
    pauses = _Pauses()
    replaced = {
        (link, "random"): pauses,
        (database, "uniform"): pauses.uniform,
        (records, "secrets"): _Chance(),
        (life, "sweep"): sweep,
        (life, "boot_id"): boot_id,
        (leading, "threading"): _Threads,
    }
    kept = {(module, name): getattr(module, name) for module, name in replaced}
    for (module, name), value in replaced.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name), value in kept.items():
            setattr(module, name, value)
