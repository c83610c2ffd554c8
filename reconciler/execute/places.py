"""Where the steps of one task are to run: what is asked for each, and since when nobody can take it."""

import asyncio
import time
from collections.abc import Iterable

from reconciler.execute.grounds import Grounds
from reconciler.model.live import StepState, TaskId
from reconciler.schedule.asking import resumption
from reconciler.schedule.explain import Wait
from reconciler.schedule.progress import NOBODY_FOR
from reconciler.schedule.requests import Grant, Request, RequestId


class Places:
    """Asks for the steps of a task; `wake` is set when one of them was granted."""

    def __init__(self, grounds: Grounds, turn: Request, wake: asyncio.Event) -> None:
        self._grounds = grounds
        self._turn = turn
        self._rests = False
        self._resumption: Request | None = None
        self._wake = wake
        self._names: dict[int, RequestId] = {}
        self._nobody_since: dict[int, float] = {}

    @property
    def deadlines(self) -> Iterable[float]:
        """The moments at which steps fail that nobody can take, in seconds since the epoch."""
        return [since + NOBODY_FOR for since in self._nobody_since.values()]

    @property
    def resumes(self) -> bool:
        """Does the task wait for its place? Until it has it, none of its steps is due."""
        return self._resumption is not None

    def rest(self, answered_at: float | None = None) -> None:
        """Free the task's place among those that run, and its workers: it waits for a person.

        One that another engine began may have been answered since, at a moment in seconds since the epoch.
        """
        self._grounds.leasing.end_leases(TaskId(self._turn.task))
        self._grounds.leasing.rest(self._turn.id)
        self._rests = True
        self._resumption = resumption(self._turn, answered_at) if answered_at is not None else None

    def wait(self) -> str:
        """Say why the task waits for its place, or "".

        One that waited for a person asks for it again, before all that are queued.
        """
        if not self._rests:
            return ""
        if self._resumption is None:
            self._resumption = resumption(self._turn, time.time())
        found = self._grounds.leasing.place(self._resumption, self._wake)
        if isinstance(found, Wait):
            return f"it was answered, and waits for its turn: {found.reason}"
        self._rests, self._resumption = False, None
        return ""

    async def ask(self, index: int, request: Request) -> Grant | Wait | None:
        """Ask for a step, or ask again; a grant is to be bound to a ticket or dropped.

        None where the fleet has just changed: it is to be asked for anew.
        """
        before = self._names.get(index)
        if before is not None and before != request.id:
            self._grounds.leasing.drop(before)
        self._names[index] = request.id
        found = self._grounds.leasing.place(request, self._wake)
        if isinstance(found, Grant) and found.machine not in self._grounds.links:
            self.drop(index)
            self._grounds.fleet.changed()
            if (await self._grounds.fleet_now()).machine(found.machine) is None:
                return None
            found = Wait(f"{found.machine} was registered just now and is not linked yet", busy=True)
        if isinstance(found, Grant) or found.busy:
            self._nobody_since.pop(index, None)
        return found

    def judge(self, index: int, wait: Wait) -> tuple[StepState, str]:
        """Say whether a step waits or fails: busy workers are waited for, nobody only for a while."""
        if wait.final:
            return StepState.FAILED, wait.reason
        if not wait.busy and time.time() - self._nobody_since.setdefault(index, time.time()) >= NOBODY_FOR:
            return StepState.FAILED, f"nobody could run it for {NOBODY_FOR:g} s: {wait.reason}"
        return StepState.WAITING, wait.reason

    def drop(self, index: int) -> None:
        """Give up what is asked for a step; harmless where nothing is."""
        name = self._names.pop(index, None)
        if name is not None:
            self._grounds.leasing.drop(name)
        self._nobody_since.pop(index, None)

    def taken(self, index: int) -> None:
        """Leave a step to its ticket, which holds what was granted from here on."""
        self._names.pop(index, None)
