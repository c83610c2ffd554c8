"""Long work for one caller, in a thread of its own: a few at a time, one for a space, and no end of the server waits for it."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.declare.beside import Beside
from reconciler.model.errors import Conflict

Result = TypeVar("Result")

MOST = 2
"""At once, of one kind, for all spaces."""


@dataclass(slots=True)
class Apart:
    """Work of one kind, called `what`; `busy` are the spaces for which some is done."""

    what: str
    busy: set[str] = field(default_factory=set)

    def begin(self, space: str, call: Callable[[], Result]) -> Beside[Result]:
        """Begin a call for a space; raises Conflict where too many are under way."""
        if space in self.busy or len(self.busy) >= MOST:
            of = space if space in self.busy else ", ".join(sorted(self.busy))
            raise Conflict(f"a {self.what} of {of} is being made already", "try again when it is done")

        def run() -> Result:
            try:
                return call()
            finally:
                self.busy.discard(space)

        self.busy.add(space)
        with ExitStack() as undoing:
            undoing.callback(self.busy.discard, space)
            begun = Beside(run)
            undoing.pop_all()
        return begun

    async def result(self, space: str, call: Callable[[], Result]) -> Result:
        """Return what a call for a space returns, or raise what it raises; raises Conflict as `begin` does."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def told() -> Result:
            try:
                return call()
            finally:
                with suppress(RuntimeError):  # the server has ended
                    loop.call_soon_threadsafe(ended.set)

        begun = self.begin(space, told)
        await ended.wait()
        return begun.result()
