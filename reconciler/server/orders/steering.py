"""People steer the controller: they suspend and resume it, and decide about plans that wait."""

from dataclasses import replace

from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.following import NAMED_DIGITS, Suspension
from reconciler.model.live import Event
from reconciler.server.orders.orders import Answer, DecidePlan, Resume, SourceOrder, Suspend
from reconciler.server.orders.words import one_line, reason_of
from reconciler.server.state.origins import kind_of
from reconciler.server.state.times import stamp
from reconciler.store import audit, following
from reconciler.store.database import Transaction

PLAN = "plan-"
"""What the names of plans begin with."""


def carry_out_steering(tx: Transaction, order: SourceOrder, now: float, origin: str = "") -> Answer:
    """Write an order that comes from `origin`, and its line in the audit; raises UsageMistake or Conflict."""
    match order:
        case Suspend():
            return _suspend(tx, order, now, origin)
        case Resume():
            return _resume(tx, order, now, origin)
        case DecidePlan():
            return _decide(tx, order, now, origin)


def _suspend(tx: Transaction, order: Suspend, now: float, origin: str) -> Answer:
    until = now + order.seconds
    reason = reason_of(order.reason, "a suspension")
    following.suspend(tx, Suspension(order.actor, reason, now, until))
    event = Event(now, order.actor, "suspend", "space", detail=f"until {stamp(until)}: {reason}")
    audit.record(tx, replace(event, kind=kind_of(origin), origin=origin))
    return Answer(f"suspended until {stamp(until)}: no commit is carried out; what runs goes on")


def _resume(tx: Transaction, order: Resume, now: float, origin: str) -> Answer:
    if not following.resume(tx):
        raise Conflict("nothing is suspended", "`reconcile status` shows how things stand")
    audit.record(tx, Event(now, order.actor, "resume", "space", kind=kind_of(origin), origin=origin))
    return Answer("resumed: the head is judged again")


def _decide(tx: Transaction, order: DecidePlan, now: float, origin: str) -> Answer:
    digest = order.plan.removeprefix(PLAN)
    found = following.proposal(tx, digest) if len(digest) >= NAMED_DIGITS else None
    if found is None:
        raise UsageMistake(f"no plan {order.plan} waits", "`reconcile status` names the one that does")
    word = "approved" if order.verb == "approve" else "rejected"
    if found.decision and (found.decision, word) != ("rejected", "approved"):
        raise Conflict(f"{found.name} was {found.decision} by {found.decided_by} already")
    notes = one_line(order.notes)
    decided = replace(found, decision=word, decided_by=order.actor, decided_at=now, notes=notes)
    following.decide(tx, decided)
    event = Event(now, order.actor, order.verb, found.name, revision=found.revision, detail=notes or found.summary)
    audit.record(tx, replace(event, kind=kind_of(origin), origin=origin, plan=found.plan or found.digest))
    return Answer(f"{word} {found.name} of {found.revision[:12]}: {found.summary}")
