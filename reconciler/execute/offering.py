"""Offers that another engine made and perhaps never sent."""

from collections.abc import Callable, Sequence

from reconciler.execute.grounds import Grounds
from reconciler.execute.preparation import Preparation
from reconciler.execute.searches import Searches
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, StepRun
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import TicketId, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.placement import Placed
from reconciler.store import tasks


class Reoffers:
    """Offers attempts of one task again, and knows which; `is_wanted` says whether one is still to be started.

    Their secrets are looked for anew, and what the server lets run on its own machine may have changed.
    """

    def __init__(self, preparation: Preparation, grounds: Grounds, is_wanted: Callable[[TicketId], bool]) -> None:
        self._preparation = preparation
        self._grounds = grounds
        self._is_wanted = is_wanted
        self._withdrawn: dict[TicketId, str] = {}
        self._later: list[Attempt] = []

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._withdrawn

    def take(self, ticket: TicketId) -> str:
        """Forget one that has ended; return why it was withdrawn, or ""."""
        return self._withdrawn.pop(ticket, "")

    async def offer(self, attempt: Attempt, runs: Sequence[StepRun]) -> None:
        """Offer what was granted and perhaps never reached the worker, and start it unless a program is to be asked."""
        self._withdrawn[TicketId(attempt.ticket)] = ""
        self._grounds.links[attempt.worker].offer_again(loaded(TicketSpec, attempt.spec.encode()))
        if self._preparation.programs(self._preparation.draft(attempt.step), runs):
            self._later.append(attempt)
        else:
            await self._start(attempt, runs)

    def go_on(self, searches: Searches, runs: Sequence[StepRun]) -> None:
        """Start those for which programs are asked, each when its secrets are there."""
        for attempt in self._later:
            searches.carry(self._start_later(attempt, tuple(runs)))
        self._later.clear()

    async def _start_later(self, attempt: Attempt, runs: Sequence[StepRun]) -> None:
        async with self._grounds.searching:
            await self._start(attempt, runs)

    async def _start(self, attempt: Attempt, runs: Sequence[StepRun]) -> None:
        """Start what was offered, or withdraw it."""
        ticket, link = TicketId(attempt.ticket), self._grounds.links[attempt.worker]
        obstacle, secrets = self._obstacle(attempt) or await self._cancelled(attempt), None
        if not obstacle:
            try:
                found = await self._preparation.find(self._preparation.draft(attempt.step), runs)
                obstacle = await self._cancelled(attempt)  # for that may have taken a while
                secrets = self._preparation.script(found, attempt.number, Placed(attempt.worker, ""), runs).secrets
            except ReconcilerError as problem:
                obstacle = problem.message
        if not self._is_wanted(ticket):
            return
        if obstacle or secrets is None:
            self._withdrawn[ticket] = obstacle
            link.void(ticket)
        else:
            link.start(ticket, secrets)  # all else was offered

    def _obstacle(self, attempt: Attempt) -> str:
        """Say why the server's own machine may not run it any more, or ""."""
        spec = loaded(TicketSpec, attempt.spec.encode())
        rules = self._grounds.fleet.builtin_rules
        return rules.obstacle(spec.run_as or None) if attempt.worker == BUILTIN else ""

    async def _cancelled(self, attempt: Attempt) -> str:
        """Say who has cancelled the task of an attempt, or ""."""
        task = await self._grounds.store.read(lambda tx: tasks.task(tx, attempt.task))
        return f"cancelled by {task.cancel_by}" if task.cancel_by else ""
