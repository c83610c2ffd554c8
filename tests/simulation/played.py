"""What a world plays of the machine beside time, disk and network: names drawn by chance, other processes, boots."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.agent import life
from reconciler.execute import records


class _Chance:
    """In place of the module `secrets` where attempts are named: the same names in each run."""

    def __init__(self) -> None:
        self._count = 0

    def token_hex(self, length: int) -> str:
        self._count += 1
        return f"{self._count:0{2 * length}x}"


@contextmanager
def played(sweep: Callable[[str], bool], boot_id: Callable[[], str]) -> Iterator[None]:
    """Let the package draw the same names in each run, and ask the world for processes and boots."""
    replaced = {(records, "secrets"): _Chance(), (life, "sweep"): sweep, (life, "boot_id"): boot_id}
    kept = {(module, name): getattr(module, name) for module, name in replaced}
    chance = random.getstate()
    for (module, name), value in replaced.items():
        setattr(module, name, value)
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(chance)
        for (module, name), value in kept.items():
            setattr(module, name, value)
