"""A node settles in: what lives on the built-in worker of the node that led before is given up, for it can tell of it alone."""

import time
from typing import TYPE_CHECKING

from reconciler.execute.attempt_records import Ending, end_attempts
from reconciler.execute.endings import silent, verdict
from reconciler.execute.records import ENGINE
from reconciler.model.live import Attempt, AttemptState, Event
from reconciler.model.pinned import Pinned
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.outcomes import tried_again
from reconciler.store import attempts, audit, leadership, tasks
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.leadership import Node

if TYPE_CHECKING:
    from reconciler.server.engine.engine import Engine


def living_elsewhere(tx: Transaction, node: Node) -> tuple[Node, list[Attempt]]:
    """Return the node whose built-in worker was used last, and what lives there and was not left there before.

    Nothing where it is `node` itself.
    """
    former = leadership.built_in(tx)
    if former.files in {"", node.files}:
        return former, []
    left = leadership.left(tx)
    return former, [each for each in attempts.unfinished_on(tx, BUILTIN) if each.ticket not in left]


async def settle_in(engine: "Engine") -> None:
    """Use the built-in worker of this node from now on."""
    node, sealer = engine.lead.node, engine.sealer
    await engine.store.write(lambda tx: _settle_in(tx, node, sealer, time.time()))


def _settle_in(tx: Transaction, node: Node, sealer: Sealer, now: float) -> None:
    former, left = living_elsewhere(tx, node)
    for attempt in left:
        leadership.leave(tx, attempt.ticket, former)
        _give_up(tx, attempt, former, sealer, now)
    if former.files != node.files:
        leadership.set_built_in(tx, node)
        audit.record(tx, Event(now, ENGINE, "lead", f"Node/{node.name}"))


def _give_up(tx: Transaction, attempt: Attempt, former: Node, sealer: Sealer, now: float) -> None:
    """Go on without an attempt; what it holds alone stays held until its node has told how it ended."""
    task = tasks.task(tx, attempt.task)
    if task.state.ended or attempt.state is AttemptState.LOST:
        attempts.lose(tx, attempt.ticket, now)
        return
    reason = (
        f"it ran on the built-in worker of the node {former.name}, which leads no longer; whether the script runs or has "
        "done its work is unknown until that node leads again"
    )
    step = Pinned.parse(tasks.pinned(tx, task.pin)).project.process[attempt.step]
    cancelling, final = bool(task.cancel_by), silent(TicketId(attempt.ticket), reason)
    outcome = verdict(final, step, cancelling=cancelling, withdrawn="")
    pause = None if cancelling else tried_again(outcome, step.retry, attempt.number)
    end_attempts(tx, [(Ending(attempt, final, step, outcome, pause, now, lost=True), sealer)])
