"""Drain a worker whatever Git declares, and give it work again: each one transaction with its line in the audit."""

import json
from dataclasses import asdict, replace

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Event, LiveObject, Override
from reconciler.model.spec import Address, canonical_json
from reconciler.server.orders.orders import Answer, Drain, DrainOrder, Undrain
from reconciler.server.orders.words import reason_of
from reconciler.server.state.origins import kind_of
from reconciler.server.state.times import stamp
from reconciler.store import audit, objects, overrides
from reconciler.store.database import Transaction

UNTIL_MAX = 30 * 86_400.0
"""Seconds that an override may stand; what holds for longer belongs into Git."""


def carry_out_drain(tx: Transaction, order: DrainOrder, now: float, origin: str = "") -> Answer:
    """Carry out an order about a drain that comes from `origin`, and say what it came to.

    Raises UsageMistake or Conflict.
    """
    match order:
        case Drain():
            return _drain(tx, order, now, origin)
        case Undrain(actor, worker):
            return _undrain(tx, actor, worker, now, origin)


def _drain(tx: Transaction, order: Drain, now: float, origin: str) -> Answer:
    reason = reason_of(order.reason, "a drain")
    if not 0.0 < order.seconds <= UNTIL_MAX:
        raise UsageMistake(
            "a live override ends within 30 days, and not before now",
            "give --until a span such as 24h, or a time such as 2030-01-31T06:00Z; for longer, declare it in Git",
        )
    found = _worker(tx, order.worker)
    if _declares_drain(found):
        raise Conflict(f"{order.worker} is draining already: {found.position} says so", "what Git declares ends in Git")
    before = overrides.of(tx, order.worker, now)
    if before is None:
        overrides.end(tx, order.worker)
    override = Override(order.worker, order.actor, reason, now, now + order.seconds)
    overrides.put(tx, override)
    until = f"until {stamp(override.until)}"
    event = Event(now, order.actor, "drain", str(found.address), detail=f"{until}: {reason}", kind=kind_of(origin))
    audit.record(tx, replace(event, origin=origin, before=_told(before), after=_told(override)))
    if before is not None:
        return Answer(f"{order.worker} stays drained {until}, no longer until {stamp(before.until)}")
    return Answer(f"{order.worker} takes nothing new {until}; what runs there goes on")


def _undrain(tx: Transaction, actor: str, worker: str, now: float, origin: str) -> Answer:
    found = _worker(tx, worker)
    standing = overrides.of(tx, worker, now)
    overrides.end(tx, worker)
    if standing is None:
        says = f"{found.position} declares it, and what Git declares ends in Git" if _declares_drain(found) else ""
        raise Conflict(f"no live override drains {worker}", says or "`reconcile get workers` shows how each one is")
    event = Event(now, actor, "undrain", str(found.address), kind=kind_of(origin), origin=origin)
    audit.record(tx, replace(event, before=_told(standing)))
    if _declares_drain(found):
        return Answer(f"ended the live override of {worker}; {found.position} declares that it is draining")
    return Answer(f"ended the live override of {worker}; it takes work again")


def _told(override: Override | None) -> str:
    """Return an override for the audit."""
    return canonical_json(asdict(override)) if override is not None else ""


def _worker(tx: Transaction, name: str) -> LiveObject:
    found = objects.one(tx, Address("Worker", name))
    if found is None:
        known = objects.of_kind(tx, "Worker")
        raise UsageMistake(f'there is no worker "{name}"{did_you_mean(name, known)}', "see: reconcile get workers")
    return found


def _declares_drain(worker: LiveObject) -> bool:
    return bool(json.loads(worker.spec).get("state") == "draining")
