"""Carry out what people order about trust: each order is one transaction with its line in the audit."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from reconciler.model.errors import UsageMistake
from reconciler.model.live import Event
from reconciler.model.spec import Address, canonical_json
from reconciler.model.text import NAME_PATTERN, Thumbprint
from reconciler.model.trust import Purpose, Revocation
from reconciler.schedule.fleet import BUILTIN, IMPLICIT_POOL
from reconciler.server.orders.orders import (
    Answer,
    CreateToken,
    Lift,
    MakeSnapshotKey,
    Retire,
    Revoke,
    RevokeToken,
    Stage,
    Switch,
    TrustOrder,
)
from reconciler.server.orders.words import reason_of
from reconciler.server.state.origins import kind_of
from reconciler.server.state.registered import bearer, other_pools, registered_as
from reconciler.server.trust import tokens
from reconciler.server.trust.keyring import keyring, retire, stage, switch, with_snapshot_key
from reconciler.store import audit, enrolment, objects
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer


def carry_out_order(
    tx: Transaction, order: TrustOrder, sealing: Callable[[Transaction], Sealer], now: float, origin: str = ""
) -> Answer:
    """Carry out an order that comes from `origin`, and say what it came to; raises UsageMistake, Conflict or Refused."""
    match order:
        case CreateToken():
            return _create_token(tx, order, sealing(tx), now, origin)
        case RevokeToken(actor, token):
            found = tokens.revoke_token(tx, token, actor, now, origin)
            used = f", which {found.used_by} has used" if found.used_by else ""
            return Answer(f"revoked the token {token} for {found.worker}{used}")
        case Revoke():
            return _revoke(tx, order, now, origin)
        case Lift(actor, whom):
            return _lift(tx, actor, whom, now, origin)
        case MakeSnapshotKey():
            with_snapshot_key(tx, sealing(tx), now)
            return Answer("the snapshot key is there")
        case Stage(actor, purpose):
            message = stage(tx, sealing(tx), Purpose(purpose), now)
        case Switch(actor, purpose, forced):
            message = switch(tx, sealing(tx), Purpose(purpose), now, forced=forced)
        case Retire(actor, purpose, forced):
            message = retire(tx, sealing(tx), Purpose(purpose), now, forced=forced)
    event = Event(now, actor, f"trust {type(order).__name__.lower()}", f"trust/{purpose}", detail=message)
    audit.record(tx, replace(event, kind=kind_of(origin), origin=origin))
    return Answer(message)


def _create_token(tx: Transaction, order: CreateToken, sealer: Sealer, now: float, origin: str) -> Answer:
    for name in (order.worker, *order.pools):
        if not re.fullmatch(NAME_PATTERN, name):
            raise UsageMistake(f'"{name}" is no name', "a name has lower-case letters, digits and -, at most 63")
    if order.worker == BUILTIN:
        raise UsageMistake(f'the worker "{BUILTIN}" is the server\'s own', "choose another name")
    token, text = tokens.create_token(
        *(tx, order.worker, order.pools, order.ttl),
        replace=order.replace,
        by=order.actor,
        now=now,
        pin=keyring(tx, sealer, now).pin,
        origin=origin,
    )
    return Answer(
        f"made the token {token.id}: one agent may become {token.worker} with it, within {_span(order.ttl)}",
        text,
        tuple(_doubts(tx, order)),
    )


def _doubts(tx: Transaction, order: CreateToken) -> Iterator[str]:
    for pool in order.pools:
        if pool != IMPLICIT_POOL and objects.one(tx, Address("WorkerPool", pool)) is None:
            yield f'there is no live WorkerPool "{pool}" yet; commit it with the worker'
    present = None if order.replace else registered_as(tx, order.worker)
    if present is None:
        return
    yield f"{order.worker} has an identity in Git; an agent with another key needs a token made with --replace"
    if other := other_pools(present, order.pools):
        yield f"{other}; made with --replace it takes {order.worker} out of all others, and else it is of no use"


def _revoke(tx: Transaction, order: Revoke, now: float, origin: str) -> Answer:
    reason = reason_of(order.reason, "a revocation")
    found = _identities(tx, order.whom)
    if not found:
        raise UsageMistake(
            f'no identity of a worker "{order.whom}" is known',
            "name a worker of `reconcile get workers`, or a thumbprint SHA256:…",
        )
    fresh = [
        thumbprint
        for thumbprint, worker in found.items()
        if enrolment.revoke(tx, Revocation(thumbprint, worker, reason, order.actor, now))
    ]
    for thumbprint in fresh:
        subject = f"Worker/{found[thumbprint]}" if found[thumbprint] else f"identity/{thumbprint}"
        event = Event(now, order.actor, "revoke", subject, detail=f"{thumbprint}: {reason}")
        after = canonical_json({"reason": reason, "thumbprint": thumbprint})
        audit.record(tx, replace(event, kind=kind_of(origin), origin=origin, after=after))
    if not fresh:
        return Answer(f"{order.whom} was revoked already")
    return Answer(f"revoked {', '.join(fresh)}{_of(order.whom)}; it is let in no longer, whatever Git declares")


def _lift(tx: Transaction, actor: str, whom: str, now: float, origin: str) -> Answer:
    held = [found for found in enrolment.revocations(tx).values() if whom in {found.thumbprint, found.worker}]
    if not held:
        raise UsageMistake(f"nothing of {whom} is revoked", "`reconcile trust show` lists revocations")
    for found in held:
        enrolment.lift(tx, found.thumbprint)
        subject = f"Worker/{found.worker}" if found.worker else f"identity/{found.thumbprint}"
        event = Event(now, actor, "lift", subject, detail=found.thumbprint, kind=kind_of(origin), origin=origin)
        before = canonical_json({"reason": found.reason, "thumbprint": found.thumbprint})
        audit.record(tx, replace(event, before=before))
    return Answer(f"lifted the revocation of {', '.join(found.thumbprint for found in held)}{_of(whom)}")


def _identities(tx: Transaction, whom: str) -> dict[str, str]:
    """Return the worker of each thumbprint that `whom`, a thumbprint or a worker's name, stands for."""
    if Thumbprint.pattern.fullmatch(whom):
        declared, known = bearer(tx, whom), enrolment.identity(tx, whom)
        return {whom: declared.worker if declared else known.worker if known else ""}
    worker = registered_as(tx, whom)
    certified = (identity.thumbprint for identity in enrolment.identities(tx, whom))
    return dict.fromkeys((*map(str, worker.thumbprints if worker else ()), *certified), whom)


def _of(whom: str) -> str:
    return "" if Thumbprint.pattern.fullmatch(whom) else f" of {whom}"


def _span(seconds: float) -> str:
    """Say a span as people do: `1 h`, `90 min`, `45 s`."""
    for unit, name in ((3_600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
