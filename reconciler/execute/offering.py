"""Offers that another engine made and perhaps never sent."""

from collections.abc import Sequence

from reconciler.execute.grounds import Grounds
from reconciler.execute.preparation import Preparation
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, StepRun
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import TicketId, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.placement import Placed
from reconciler.store import tasks


async def offer_again(attempt: Attempt, preparation: Preparation, runs: Sequence[StepRun], grounds: Grounds) -> str:
    """Offer what was granted and perhaps never reached the worker; return why it was withdrawn instead, or "".

    Its secrets are resolved anew, and what the server lets run on its own machine may have changed.
    """
    ticket, link = TicketId(attempt.ticket), grounds.links[attempt.worker]
    spec = loaded(TicketSpec, attempt.spec.encode())
    link.offer(spec)
    rules = grounds.fleet.builtin_rules
    obstacle = rules.obstacle(spec.run_as or None) if attempt.worker == BUILTIN else ""
    obstacle = obstacle or await _cancelled(attempt, grounds)
    if not obstacle:
        try:
            draft = preparation.draft(attempt.step)  # for its secrets alone; all else was offered
            prepared = await preparation.script(draft, attempt.number, Placed(attempt.worker, ""), runs)
            obstacle = await _cancelled(attempt, grounds)  # for that may have taken a while
        except ReconcilerError as problem:
            obstacle = problem.message
    if obstacle:
        link.void(ticket)
    else:
        link.start(ticket, prepared.secrets)
    return obstacle


async def _cancelled(attempt: Attempt, grounds: Grounds) -> str:
    """Say who has cancelled the task of an attempt, or ""."""
    task = await grounds.store.read(lambda tx: tasks.task(tx, attempt.task))
    return f"cancelled by {task.cancel_by}" if task.cancel_by else ""
