"""One call beside others, in a thread of its own: for work that waits for another program."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")

HEEDED_WITHIN = 0.2
"""Seconds: a signal may reach another thread than the one that waits, which then has to look for itself."""


class Beside(Generic[T]):
    """A call that has begun; who asks for its result waits for it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = Thread(target=self._run, name=f"beside-{id(self):x}", daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Return what the call returned, or raise what it raised; the call sees to it that it ends."""
        while self._thread.is_alive():
            self._thread.join(HEEDED_WITHIN)
        for error in self._errors:
            raise error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the result is asked for
            self._errors.append(error)
