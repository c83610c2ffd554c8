"""Judge agents: who brings a token is certified; who has a certificate is let in as the worker that Git declares.

A certificate gives no work: pools and all else come from Git, which has to declare a Worker with the thumbprint.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.execute.listener import Admitted, Issued, Refusal
from reconciler.execute.peers import Peer
from reconciler.model.live import ActorKind, Event
from reconciler.model.spec import canonical_json
from reconciler.model.text import Subscription
from reconciler.model.trust import EnrolmentToken, Identity
from reconciler.protocol.messages import Certified, Enrol, Hello, Renew
from reconciler.server.state.registered import Registered, bearer, other_pools, registered_as
from reconciler.server.trust.keyring import Keyring
from reconciler.server.trust.tokens import known_token
from reconciler.store import audit, enrolment
from reconciler.store.certificates import BadRequest, certify, read_request
from reconciler.store.database import Transaction

RETRY_UNDECLARED = 10.0
"""Seconds until an agent that Git does not declare asks again: somebody is committing its document."""

RETRY_REVOKED = 300.0
"""A revocation is seldom lifted."""

RETRY_LATER = 3_600.0
"""Not before a person has changed something."""

RENEWALS_MAX, RENEWALS_WITHIN = 4, 60.0
"""Keys of one worker that are certified in so many seconds: its present and its next one, and both once more."""

REFUSALS_TOLD_MAX = 10
"""Refusals of one token in the audit: its bearer may ask for ever."""

UNKNOWN_TOKEN = Refusal("token", "the token is unknown", RETRY_LATER)

SHOWN_MAX = 140  # characters of what a peer says of itself, in a sentence

LISTEN = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):\d{1,5}")


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A token was good: its bearer is this worker."""

    worker: str
    pools: tuple[str, ...]
    token: str


def admit(
    peer: Peer, hello: Hello, declared: Mapping[str, Registered], revoked: Collection[str], now: float
) -> Admitted | Refusal:
    """Decide who a peer with a certificate is; `declared` holds the workers of Git, each under its thumbprints."""
    worker = declared.get(peer.thumbprint)
    if peer.thumbprint in revoked:
        return _revoked(peer.thumbprint)
    if worker is None:
        return _undeclared(peer)
    if peer.expires_at is not None and peer.expires_at <= now:
        return Refusal("expired", f"the certificate of {worker.worker} has run out", 0.0)
    if hello.subscription != worker.subscription:
        said = f"calls under {hello.subscription[:SHOWN_MAX]!a}" if hello.subscription else "listens"
        meant = f"calls under {worker.subscription}" if worker.subscription else "listens"
        return Refusal("undeclared", f"this agent {said}; Git declares that {worker.worker} {meant}", RETRY_UNDECLARED)
    return Admitted(worker.worker)


def enrol(tx: Transaction, ring: Keyring, wish: Enrol, now: float, origin: str = "") -> Issued | Refusal:
    """Certify the key of an agent that brings a token from the address `origin`, and record the identity."""
    if known_token(tx, wish.token) is None:  # before any arithmetic with what a stranger sent
        return UNKNOWN_TOKEN
    try:
        request = read_request(wish.request)
    except BadRequest as error:
        return Refusal("request", error.message, RETRY_LATER)
    redeemed = redeem(tx, wish, request.thumbprint, now, origin)
    if isinstance(redeemed, Refusal):
        return redeemed
    made = certify(ring.ca, request, redeemed.worker, now)
    identity = Identity(
        *(made.thumbprint, redeemed.worker, wish.subscription, wish.listen, now, made.expires_at, redeemed.token)
    )
    enrolment.put_identity(tx, identity)
    return Issued(Certified(made.pem, ring.trust, redeemed.worker, redeemed.pools))


def redeem(tx: Transaction, wish: Enrol, thumbprint: str, now: float, origin: str = "") -> Redeemed | Refusal:
    """Use a token for one key; the same key may repeat it until it expires, since an answer may be lost."""
    if fault := _fault(wish):
        return Refusal("request", fault, RETRY_LATER)
    token = known_token(tx, wish.token)
    if token is None:
        return UNKNOWN_TOKEN
    event = Event(now, f"agent {thumbprint}", "enrol", f"Worker/{token.worker}", kind=ActorKind.AGENT, origin=origin)
    refused = next(_obstacles(tx, token, thumbprint, now), None)
    if refused is not None:
        if enrolment.count_refusal(tx, token.id) <= REFUSALS_TOLD_MAX:
            audit.record(tx, replace(event, outcome=refused.code, detail=refused.text))
        return refused
    if enrolment.use_token(tx, token.id, thumbprint, now):
        after = canonical_json({"pools": token.pools, "thumbprint": thumbprint, "worker": token.worker})
        audit.record(tx, replace(event, detail=f"token {token.id}", after=after))
    return Redeemed(token.worker, token.pools, token.id)


def renew(tx: Transaction, ring: Keyring, peer: Peer, wish: Renew, now: float, *, origin: str = "") -> Issued | Refusal:
    """Certify the key of a peer that Git declares again, or the one that it wants to change to, and record it."""
    revoked = enrolment.revocations(tx)
    if peer.thumbprint in revoked:
        return _revoked(peer.thumbprint)
    worker = bearer(tx, peer.thumbprint)
    if worker is None:
        return _undeclared(peer)
    try:
        request = read_request(wish.request)
    except BadRequest as error:
        return Refusal("request", error.message, RETRY_LATER)
    if request.thumbprint in revoked:
        return _revoked(request.thumbprint)
    owner = bearer(tx, request.thumbprint) or worker
    if owner != worker:
        return Refusal("taken", f"the key is that of {owner.worker}", RETRY_LATER)
    recent = {
        one.thumbprint for one in enrolment.identities(tx, worker.worker) if one.certified_at > now - RENEWALS_WITHIN
    }
    if len(recent - {request.thumbprint}) >= RENEWALS_MAX:
        return Refusal("busy", f"more than {RENEWALS_MAX} keys of {worker.worker} within a minute", RENEWALS_WITHIN)
    made = certify(ring.ca, request, worker.worker, now)
    known = enrolment.identity(tx, peer.thumbprint)
    listen, token = (known.listen, known.enrolled_by) if known else ("", "")
    identity = Identity(*(made.thumbprint, worker.worker, worker.subscription, listen, now, made.expires_at, token))
    enrolment.put_identity(tx, identity)
    if made.thumbprint not in recent:
        event = Event(now, f"agent {peer.thumbprint}", "renew", f"Worker/{worker.worker}", detail=made.thumbprint)
        after = canonical_json({"expiresAt": made.expires_at, "thumbprint": made.thumbprint})
        audit.record(tx, replace(event, kind=ActorKind.AGENT, origin=origin, after=after))
    return Issued(Certified(made.pem, ring.trust, worker.worker, worker.pools))


def _obstacles(tx: Transaction, token: EnrolmentToken, thumbprint: str, now: float) -> Iterator[Refusal]:
    """Yield why a bearer of a token cannot use it for a key."""
    if token.revoked_at is not None:
        yield Refusal("token", f"the token {token.id} was revoked", RETRY_LATER)
    if token.expires_at <= now:
        yield Refusal("token", f"the token {token.id} has expired", RETRY_LATER)
    if token.used_by not in {"", thumbprint}:
        yield Refusal("token", f"the token {token.id} was used already, for another key", RETRY_LATER)
    if thumbprint in enrolment.revocations(tx):
        yield _revoked(thumbprint)
    owner, present = bearer(tx, thumbprint), registered_as(tx, token.worker)
    if owner is not None and owner.worker != token.worker:
        yield Refusal("taken", f"the key is that of {owner.worker}, and the token is for {token.worker}", RETRY_LATER)
    if present is not None and thumbprint not in present.thumbprints and not token.replace:
        yield Refusal("taken", f"{token.worker} has another identity in Git", RETRY_LATER)
    if present is not None and not token.replace and (other := other_pools(present, token.pools)):
        yield Refusal("taken", other, RETRY_LATER)


def _fault(wish: Enrol) -> str | None:
    """Say what of an enrolment could not be written into a Worker's document."""
    if bool(wish.subscription) == bool(wish.listen):
        return "an agent either calls under a subscription or listens at HOST:PORT"
    if wish.subscription and not Subscription.pattern.fullmatch(wish.subscription):
        return "what stands as the subscription is none, such as poll://k3v9x2m1"
    if wish.listen and not LISTEN.fullmatch(wish.listen):
        return "what stands as the address to listen at is none, such as db1.example.org:10933"
    return None


def _undeclared(peer: Peer) -> Refusal:
    return Refusal(
        "undeclared", f"no Worker that was carried out bears the thumbprint {peer.thumbprint}", RETRY_UNDECLARED
    )


def _revoked(thumbprint: str) -> Refusal:
    return Refusal("revoked", f"the identity {thumbprint} was revoked", RETRY_REVOKED)
