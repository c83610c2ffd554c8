"""The searches for the secrets of a task's steps: each beside the others and beside what runs, before a place is asked for.

A program that gives a secret may take its time. A step waits for it without a worker, and holds up nobody else. What a
step was given a while ago it is not started with: where it has waited for its place for longer, its secrets are looked
for again, and it keeps the place meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.execute.grounds import Grounds
from reconciler.execute.preparation import Draft, Found, Preparation
from reconciler.execute.secrets import described
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import StepRun
from reconciler.model.variables import SecretSource
from reconciler.schedule.requests import Grant

T = TypeVar("T")

FRESH = 60.0
"""Seconds for which secrets are as they were found: a vault gives out none that hold for less."""

AWAITED = "it waits for the value of "
"""How the reason of a step begins that waits for a secret, and has not asked for its place."""


@dataclass(slots=True)
class Search:
    """The search for the secrets of one attempt; without `programs` nothing is waited for, and none is begun.

    `at` is when they were found, in seconds on the monotonic clock.
    """

    draft: Draft
    programs: Mapping[str, SecretSource]
    task: asyncio.Task[Found | ReconcilerError] | None = None
    at: float = 0.0
    grant: Grant | None = None
    """The place that was kept for the step while they were looked for again."""

    @property
    def words(self) -> str:
        """What the step waits for, in words."""
        name, *others = sorted(self.programs)
        more = f" (and {len(others)} more)" if others else ""
        return f"{AWAITED}{name} from {described(self.programs[name])}{more}"


class Searches:
    """Knows the searches of one task; `wake` is called when one has ended."""

    def __init__(self, preparation: Preparation, grounds: Grounds, wake: Callable[[], None]) -> None:
        self._preparation = preparation
        self._grounds = grounds
        self._wake = wake
        self._searches: dict[int, Search] = {}
        self._group: asyncio.TaskGroup | None = None
        self._carried: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Let searches go on while the context stands; at its end those that are left are given up."""
        async with asyncio.TaskGroup() as self._group:
            try:
                yield
            finally:
                self.give_up()

    def carry(self, search: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let a search go on beside everything else; when it has ended, `wake` is called."""
        assert self._group is not None, "searches are under way"
        task = self._group.create_task(search)
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)
        task.add_done_callback(lambda _: self._wake())
        return task

    def give_up(self) -> None:
        """Give every search up, with the program that it waits for."""
        self._searches.clear()
        for task in self._carried:
            task.cancel()

    async def awaited(self, index: int, runs: Sequence[StepRun]) -> str:
        """Say for what a step waits before it asks for its place, "" where for nothing; raises ReconcilerError."""
        search = self._searches.get(index)
        if search is None:
            draft = self._preparation.draft(index)
            search = self._searches[index] = Search(draft, self._preparation.programs(draft, runs))
        if not search.programs:
            return ""
        if search.task is None:
            self._begin(search, runs)
            await asyncio.sleep(0)  # one that fails at once is not waited for
        assert search.task is not None
        if not search.task.done():
            return search.words
        self._outcome(search)
        return ""

    async def found(self, index: int, grant: Grant, runs: Sequence[StepRun]) -> Found | str:
        """Return the secrets of a step that was granted its place; raises ReconcilerError.

        Where they were found too long ago they are looked for again, the place is kept, and it is said for what it waits.
        """
        search = self._searches[index]
        if not search.programs:
            return await self._preparation.find(search.draft, runs)
        if grant is search.grant or time.monotonic() - search.at < FRESH:
            return self._outcome(search)
        search.grant = grant
        self._grounds.leasing.keep(grant)
        self._begin(search, runs)
        return search.words

    def drop(self, index: int) -> None:
        """Give up the search of a step, with the program that it waits for; harmless where there is none."""
        search = self._searches.pop(index, None)
        if search is not None and search.task is not None:
            search.task.cancel()

    def _begin(self, search: Search, runs: Sequence[StepRun]) -> None:
        search.task = self.carry(self._find(search, tuple(runs)))

    async def _find(self, search: Search, runs: Sequence[StepRun]) -> Found | ReconcilerError:
        try:
            async with self._grounds.searching:
                return await self._preparation.find(search.draft, runs)
        except ReconcilerError as problem:
            return problem
        finally:
            search.at = time.monotonic()

    @staticmethod
    def _outcome(search: Search) -> Found:
        assert search.task is not None
        found = search.task.result()
        if isinstance(found, ReconcilerError):
            raise found
        return found
