"""One-use enrolment tokens: `rct1.ID.SECRET.PIN`, of which the store keeps the secret's digest alone.

The pin is the thumbprint of the server's key, so that an agent knows the server on its first connection.
"""

import base64
import dataclasses
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

from reconciler.model.errors import UsageMistake
from reconciler.model.live import Event
from reconciler.model.spec import canonical_json
from reconciler.model.trust import EnrolmentToken
from reconciler.server.state.origins import kind_of
from reconciler.store import audit, enrolment
from reconciler.store.database import Transaction

FORM = "rct1"
ID_BYTES = 4
SECRET_BYTES = 32
TEXT_MAX = 200  # characters; a token has 101
TTL_MIN, TTL_MAX = 1.0, 86_400.0
"""Seconds: a token is for the person who installs an agent now."""


@dataclass(frozen=True, slots=True)
class TokenText:
    """What the bearer of a token holds."""

    id: str
    secret: str = field(repr=False)
    pin: str

    def __str__(self) -> str:
        return f"{FORM}.{self.id}.{self.secret}.{self.pin.removeprefix('SHA256:').translate(_URL_SAFE)}"

    @property
    def digest(self) -> str:
        """The SHA-256 of the secret, in hexadecimal."""
        return sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as listings show it; times are seconds since the epoch."""

    id: str
    worker: str
    pools: tuple[str, ...]
    replace: bool
    state: str
    created_by: str
    created_at: float
    expires_at: float
    used_by: str
    used_at: float | None
    refusals: int


_URL_SAFE = str.maketrans("+/", "-_")
_STANDARD = str.maketrans("-_", "+/")


def parse_token(text: str) -> TokenText | None:
    """Read a token; None where it is none."""
    parts = text.split(".") if len(text) <= TEXT_MAX and text.isascii() else []
    if len(parts) != 4 or parts[0] != FORM:
        return None
    return TokenText(parts[1], parts[2], "SHA256:" + parts[3].translate(_STANDARD))


def create_token(
    tx: Transaction,
    worker: str,
    pools: tuple[str, ...],
    ttl: float,
    *,
    replace: bool,
    by: str,
    now: float,
    pin: str,
    origin: str = "",
) -> tuple[EnrolmentToken, str]:
    """Write a new token and return it with its text, which is kept nowhere.

    `ttl` is in seconds, `origin` is from where it is asked for; raises UsageMistake where it is out of bounds.
    """
    if not TTL_MIN <= ttl <= TTL_MAX:
        span = f"{TTL_MIN:g} s at least and {TTL_MAX / 3600:g} hours at most"
        raise UsageMistake(f"a token holds for {span}", "give another time with --ttl")
    while True:
        secret = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
        text = TokenText(secrets.token_hex(ID_BYTES), secret, pin)
        token = EnrolmentToken(text.id, text.digest, worker, pools, replace, by, now, now + ttl)
        if enrolment.put_token(tx, token):
            break
    more = ", in place of another identity" if replace else ""
    detail = f"token {token.id} for the pools {', '.join(pools)}, {ttl:g} s{more}"
    after = canonical_json(
        {"expiresAt": token.expires_at, "pools": pools, "replace": replace, "token": token.id, "worker": worker}
    )
    event = Event(now, by, "token create", f"Worker/{worker}", detail=detail, kind=kind_of(origin), origin=origin)
    audit.record(tx, dataclasses.replace(event, after=after))
    return token, str(text)


def revoke_token(tx: Transaction, token_id: str, by: str, now: float, origin: str = "") -> EnrolmentToken:
    """Make a token useless and return it; raises UsageMistake where there is none."""
    token = enrolment.token(tx, token_id)
    if token is None:
        raise UsageMistake(f'there is no token "{token_id}"', "`reconcile token list` shows them")
    if enrolment.revoke_token(tx, token_id, now):
        after = canonical_json({"revokedAt": now, "token": token_id})
        event = Event(now, by, "token revoke", f"Worker/{token.worker}", kind=kind_of(origin), origin=origin)
        audit.record(tx, dataclasses.replace(event, detail=f"token {token_id}", after=after))
    return token


def token_rows(tx: Transaction, now: float) -> list[TokenRow]:
    """List the tokens, the newest first."""
    return [
        TokenRow(
            *(found.id, found.worker, found.pools, found.replace, _state(found, now), found.created_by),
            *(found.created_at, found.expires_at, found.used_by, found.used_at, found.refusals),
        )
        for found in enrolment.tokens(tx)
    ]


def _state(token: EnrolmentToken, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.used_by:
        return "used"
    return "open" if token.expires_at > now else "expired"


def known_token(tx: Transaction, text: str) -> EnrolmentToken | None:
    """Return the token of which `text` is the bearer's; None where it is unknown or its secret is another."""
    given = parse_token(text)
    found = enrolment.token(tx, given.id) if given else None
    if given is None or found is None or not compare_digest(given.digest, found.digest):
        return None
    return found
