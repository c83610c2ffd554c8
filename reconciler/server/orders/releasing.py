"""A person says that what was given up runs no more: what it held alone becomes free, and its worker's name, too."""

from reconciler.execute.attempt_records import record_endings
from reconciler.execute.endings import silent
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Event
from reconciler.protocol.tickets import TicketId
from reconciler.server.orders.orders import Answer, Release
from reconciler.server.orders.words import reason_of
from reconciler.server.state.origins import kind_of
from reconciler.store import attempts, audit, leaving
from reconciler.store.database import Transaction


def carry_out_release(tx: Transaction, order: Release, now: float, origin: str = "") -> Answer:
    """Record that lost attempts ended, and free what they held; raises UsageMistake or Conflict."""
    reason = reason_of(order.reason, "a release")
    found = [held for held in attempts.held(tx) if order.whom in {held.ticket, held.worker}]
    if not found:
        raise UsageMistake(
            f'nothing is held by an attempt "{order.whom}", or on a worker of that name',
            "`reconcile why task/NUMBER`, of the task that holds it, names the attempt",
        )
    lost = [held for held in found if held.lost]
    if not lost:
        raise Conflict(
            f"{', '.join(held.ticket for held in found)} may still run: nobody has given it up",
            "`reconcile cancel` ends what runs; what is silent is given up after lostAfter",
        )
    word = f"released by {order.actor}: {reason}"
    record_endings(tx, [(silent(TicketId(held.ticket), word), now) for held in lost])
    leaving.forget_gone(tx)
    for held in lost:
        detail = f"{held.ticket} on {held.worker}: {reason}"
        event = Event(
            now, order.actor, "release", f"task/{held.task}", detail=detail, kind=kind_of(origin), origin=origin
        )
        audit.record(tx, event)
    names = ", ".join(f"{held.ticket} on {held.worker}" for held in lost)
    return Answer(f"released what was held by {names}")
