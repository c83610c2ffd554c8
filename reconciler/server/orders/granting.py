"""Tokens of the API: made and revoked by the owner of the state, each in one transaction with its line in the audit.

A token is `rcl_` and 32 random bytes; the state keeps its digest alone.
"""

import re
import secrets
from dataclasses import asdict, replace
from hashlib import sha256

from reconciler.model.access import EVERY_SPACE, ROLES, AccessToken, Bearer, Grant
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Event
from reconciler.model.spec import canonical_json
from reconciler.server.orders.orders import AccessOrder, Answer, CreateAccess, RevokeAccess
from reconciler.server.state.origins import kind_of
from reconciler.server.state.times import stamp
from reconciler.store import access, audit, objects
from reconciler.store.database import Transaction

FORM = "rcl_"
SECRET_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
SPACE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\*")
TTL_MIN, TTL_MAX = 60.0, 366 * 86_400.0
"""Seconds: whoever needs one for longer makes the next in time."""


def carry_out_access(tx: Transaction, order: AccessOrder, now: float, origin: str = "") -> Answer:
    """Carry out an order about tokens of the API that comes from `origin`; raises UsageMistake or Conflict."""
    match order:
        case CreateAccess():
            return _create(tx, order, now, origin)
        case RevokeAccess(actor, name):
            return _revoke(tx, actor, name, now, origin)


def bearer_of(tx: Transaction, text: str, now: float) -> Bearer | None:
    """Return who bears a token; None where it is unknown, expired or revoked."""
    found = access.token_of(tx, digest_of_text(text))
    return (
        Bearer(found.name, found.grants, f"token {found.digest}")
        if found is not None and found.state(now) == "open"
        else None
    )


def digest_of_text(text: str) -> str:
    """Return the digest under which the state knows a token."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _create(tx: Transaction, order: CreateAccess, now: float, origin: str) -> Answer:
    _check(order)
    standing = access.token(tx, order.name)
    if standing is not None and standing.state(now) == "open":
        raise Conflict(
            f"there is a token {order.name} already, until {stamp(standing.expires_at)}",
            f"choose another name, or first: reconcile access revoke {order.name}",
        )
    space = order.space or _own_space(tx)
    text = FORM + secrets.token_urlsafe(SECRET_BYTES)
    grants = tuple(Grant(role, space) for role in dict.fromkeys(order.roles))
    token = AccessToken(order.name, digest_of_text(text), grants, order.actor, now, now + order.ttl)
    access.put_token(tx, token)
    where = "every space" if space == EVERY_SPACE else f"the space {space}"
    detail = f"{', '.join(grant.role for grant in grants)} in {where} until {stamp(token.expires_at)}"
    after = canonical_json({"expiresAt": token.expires_at, "grants": [asdict(grant) for grant in grants]})
    event = Event(now, order.actor, "access create", f"access/{order.name}", detail=detail, kind=kind_of(origin))
    audit.record(tx, replace(event, origin=origin, after=after))
    return Answer(f"made the token {order.name}: {detail}", text)


def _check(order: CreateAccess) -> None:
    if not NAME.fullmatch(order.name):
        raise UsageMistake(
            f'"{order.name}" is no name of a token',
            "a name has letters, digits, dots, dashes and underscores, at most 63",
        )
    for role in order.roles:
        if role not in ROLES:
            raise UsageMistake(
                f'there is no role "{role}"{did_you_mean(role, ROLES)}', f"there are: {', '.join(ROLES)}"
            )
    if order.space and not SPACE.fullmatch(order.space):
        raise UsageMistake(f'"{order.space}" is no name of a space', "name one, or * for every space")
    if not TTL_MIN <= order.ttl <= TTL_MAX:
        raise UsageMistake(
            "a token holds for a minute at least and 366 days at most", "give another span with --expires"
        )


def _own_space(tx: Transaction) -> str:
    binding = objects.binding(tx)
    if binding is None:
        raise UsageMistake("this state belongs to no space yet", "name the space with --space, or * for every space")
    return binding.space


def _revoke(tx: Transaction, actor: str, name: str, now: float, origin: str) -> Answer:
    found = access.token(tx, name)
    if found is None:
        known = [token.name for token in access.tokens(tx)]
        raise UsageMistake(f'there is no token "{name}"{did_you_mean(name, known)}', "see: reconcile access list")
    if not access.revoke_token(tx, name, now):
        return Answer(f"{name} was revoked already")
    event = Event(now, actor, "access revoke", f"access/{name}", kind=kind_of(origin), origin=origin)
    audit.record(tx, replace(event, after=canonical_json({"revokedAt": now})))
    return Answer(f"revoked the token {name}")
