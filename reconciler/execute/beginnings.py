"""How the next attempt of a step comes about: what it asks for, its secrets, its place, its script."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciler.execute.endings import between
from reconciler.execute.places import Places
from reconciler.execute.preparation import Preparation, PreparedScript
from reconciler.execute.searches import Searches
from reconciler.execute.secrets import SecretUnavailable
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import StepRun, StepState
from reconciler.model.work import Step
from reconciler.schedule.explain import Wait
from reconciler.schedule.outcomes import Outcome, tried_again
from reconciler.schedule.placement import Nowhere, Placed
from reconciler.schedule.requests import Grant


@dataclass(frozen=True, slots=True)
class Ready:
    """It has a place and its script; what was granted is to be used or given back."""

    number: int
    grant: Grant
    placed: Placed
    prepared: PreparedScript = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stays:
    """It has no place: the step waits, and is woken when it may have what it lacks, or has failed."""

    state: StepState
    reason: str


@dataclass(frozen=True, slots=True)
class Pauses:
    """This one has failed before it had a place; the next one is due in so many seconds."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Anew:
    """The fleet has just changed: it is to be asked for again at once."""


Beginning = Ready | Stays | Pauses | Wait | Anew


class Beginnings:
    """Brings attempts of one task about: every call looks how far one is, and nothing that takes long is waited for."""

    def __init__(self, steps: Sequence[Step], preparation: Preparation, places: Places, searches: Searches) -> None:
        self._steps = steps
        self._preparation = preparation
        self._places = places
        self._searches = searches
        self._tries: dict[int, int] = {}  # step → the number of its last attempt

    def tried(self, index: int, number: int) -> None:
        """Take in that attempt `number` of a step was begun."""
        self._tries[index] = number

    async def begin(self, index: int, runs: Sequence[StepRun], *, room_comes: bool) -> Beginning:
        """Say how far the next attempt of a step is; a Wait only where `room_comes` that is not recorded yet."""
        number = self._tries.get(index, 0) + 1
        try:
            return await self._begin(index, number, runs, room_comes=room_comes)
        except SecretUnavailable as problem:
            failed, retry = Outcome(StepState.FAILED, problem.message), self._steps[index].retry
            pause = tried_again(failed, retry, number) if problem.passing else None
            if pause is None:
                return Stays(StepState.FAILED, problem.message)
            self.drop(index)
            self.tried(index, number)
            return Pauses(between(number, retry, problem.message, pause), pause)
        except ReconcilerError as problem:
            return Stays(StepState.FAILED, problem.message)

    async def _begin(self, index: int, number: int, runs: Sequence[StepRun], *, room_comes: bool) -> Beginning:
        since = (runs[index].state is StepState.WAITING and runs[index].since) or time.time()
        request = await self._preparation.request(index, number, since, runs)
        if isinstance(request, Nowhere):
            return Stays(StepState.FAILED, request.reason)
        if secret := await self._searches.awaited(index, runs):
            return Stays(StepState.WAITING, secret)
        grant = await self._places.ask(index, request)
        if isinstance(grant, Wait):
            return grant if grant.busy and room_comes else Stays(*self._places.judge(index, grant))
        placed = self._preparation.placed(index, grant) if grant is not None else None
        if grant is None or placed is None:
            return Anew()
        found = await self._searches.found(index, grant, runs)
        if isinstance(found, str):
            return Stays(StepState.WAITING, found)
        return Ready(number, grant, placed, self._preparation.script(found, number, placed, runs))

    def taken(self, index: int, number: int) -> None:
        """Leave a step to its attempt."""
        self.tried(index, number)
        self._places.taken(index)
        self._searches.drop(index)

    def drop(self, index: int) -> None:
        """Give up what a step asks for and looks for; harmless where that is nothing."""
        self._places.drop(index)
        self._searches.drop(index)
