"""What people order: tokens, keys, drains, suspension, plans; and how that is told through the control socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.protocol.objects import plain, restored


@dataclass(frozen=True, slots=True)
class CreateToken:
    """Make a one-use token with which an agent becomes `worker`; it holds for `ttl` seconds."""

    actor: str
    worker: str
    pools: tuple[str, ...]
    ttl: float
    replace: bool


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Make a token useless."""

    actor: str
    token: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Trust a thumbprint, or all those of a worker, no longer."""

    actor: str
    whom: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lift:
    """Trust a thumbprint, or all those of a worker, again."""

    actor: str
    whom: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Make the next key of a purpose."""

    actor: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Put the next key of a purpose to use; forced, even if workers have not heard of it."""

    actor: str
    purpose: str
    forced: bool


@dataclass(frozen=True, slots=True)
class Retire:
    """End the trust in the former key of a purpose; forced, even if workers still rest on it."""

    actor: str
    purpose: str
    forced: bool


@dataclass(frozen=True, slots=True)
class MakeSnapshotKey:
    """Make the key that signs snapshots, unless it is there."""

    actor: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Give a worker nothing new for `seconds`, whatever Git declares."""

    actor: str
    worker: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Undrain:
    """End the live override of a worker."""

    actor: str
    worker: str


@dataclass(frozen=True, slots=True)
class Release:
    """Free what a lost attempt holds, or all those on a worker: nothing of them runs any more."""

    actor: str
    whom: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """Carry no commit out for `seconds`; what runs goes on."""

    actor: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Resume:
    """End the suspension."""

    actor: str


@dataclass(frozen=True, slots=True)
class DecidePlan:
    """Approve or reject a plan that waits, named as `plan-…`."""

    actor: str
    plan: str
    verb: str
    notes: str


@dataclass(frozen=True, slots=True)
class CreateAccess:
    """Make a token of the API with these roles in `space` ("" is that of this state, "*" every one); it holds for `ttl` seconds."""

    actor: str
    name: str
    roles: tuple[str, ...]
    space: str
    ttl: float


@dataclass(frozen=True, slots=True)
class RevokeAccess:
    """Make a token of the API useless."""

    actor: str
    name: str


TrustOrder = CreateToken | RevokeToken | Revoke | Lift | Stage | Switch | Retire | MakeSnapshotKey
DrainOrder = Drain | Undrain
SourceOrder = Suspend | Resume | DecidePlan
AccessOrder = CreateAccess | RevokeAccess
Order = TrustOrder | DrainOrder | Release | SourceOrder | AccessOrder

_KINDS: tuple[type[Order], ...] = (
    *(CreateToken, RevokeToken, Revoke, Lift, Stage, Switch, Retire, MakeSnapshotKey),
    *(Drain, Undrain, Release),
    *(Suspend, Resume, DecidePlan),
    *(CreateAccess, RevokeAccess),
)

ORDERS: Mapping[str, type[Order]] = {kind.__name__: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to: a sentence, what was made (shown once), and what a person should look at."""

    message: str
    made: str = field(default="", repr=False)
    warnings: tuple[str, ...] = ()


def order_to(order: Order) -> Mapping[str, object]:
    """Return an order as JSON."""
    return {"order": type(order).__name__, **plain(order)}


def order_from(value: Mapping[str, object]) -> Order:
    """Read an order from JSON; raises KeyError or MalformedError where it is none."""
    return restored(ORDERS[str(value["order"])], value)
