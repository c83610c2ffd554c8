"""The installation's own keys at one moment: made at first use, changed in three steps that leave no gap.

`stage` makes the next key and has it announced, `switch` puts it to use, `retire` ends the trust in the former one. A
next authority is trusted at once and certifies from its switch on; a former one is trusted until it is retired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.model.errors import Conflict, Refused
from reconciler.model.live import Event
from reconciler.model.trust import AuthorityKey, KeyState, Purpose
from reconciler.protocol.messages import Trust
from reconciler.server.state.registered import uncertified_since, unseen_since
from reconciler.store import audit
from reconciler.store.authority import keys, move_key, put_key, remove_key, set_certificate
from reconciler.store.certificates import (
    authority_certificate,
    new_private_key,
    server_certificate,
    snapshot_certificate,
    thumbprint_of,
)
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.signing import new_signing_key, public_key

NAMED_MAX = 20  # workers in one sentence

WORDS = {Purpose.CA: "certificate authority", Purpose.SERVER: "server key", Purpose.SNAPSHOT: "snapshot key"}


@dataclass(frozen=True, slots=True)
class Keyring:
    """All own keys; one of each purpose is in use."""

    keys: tuple[AuthorityKey, ...]

    @property
    def ca(self) -> AuthorityKey:
        """The authority that certifies now."""
        return self.current(Purpose.CA)

    @property
    def server(self) -> AuthorityKey:
        """The key that the server is known by now."""
        return self.current(Purpose.SERVER)

    @property
    def pin(self) -> str:
        """The thumbprint of the server's present key."""
        return thumbprint_of(self.server.certificate)

    @property
    def trust(self) -> Trust:
        """What agents are told: every authority, first the one that certifies, and the server's present and next key."""
        others = (key.certificate for key in self.keys if key.purpose is Purpose.CA and key is not self.ca)
        authorities = (self.ca.certificate, *others)
        next_one = self.found(Purpose.SERVER, KeyState.NEXT)
        return Trust(authorities, (self.pin, thumbprint_of(next_one.certificate)) if next_one else (self.pin,))

    def found(self, purpose: Purpose, state: KeyState) -> AuthorityKey | None:
        """Return the key of a purpose that is in `state`."""
        return next((key for key in self.keys if key.purpose is purpose and key.state is state), None)

    def current(self, purpose: Purpose) -> AuthorityKey:
        """Return the key of a purpose that is in use."""
        key = self.found(purpose, KeyState.CURRENT)
        assert key is not None, f"one {purpose} key is in use"
        return key


def keyring(tx: Transaction, sealer: Sealer, now: float) -> Keyring:
    """Return the installation's keys, which are made at their first use; needs a transaction that writes."""
    found = keys(tx, sealer)
    if found:
        return Keyring(found)
    private_key = new_private_key()
    ca = AuthorityKey(Purpose.CA, 1, authority_certificate(private_key, now), private_key, KeyState.CURRENT, now, now)
    server = _server_key(ca, 1, KeyState.CURRENT, now)
    for key in (ca, server):
        _put_first(tx, key, sealer, now)
    return Keyring((ca, server))


def with_snapshot_key(tx: Transaction, sealer: Sealer, now: float) -> Keyring:
    """Return the installation's keys with the one that signs snapshots, which is made at its first use."""
    ring = keyring(tx, sealer, now)
    if ring.found(Purpose.SNAPSHOT, KeyState.CURRENT):
        return ring
    made = _snapshot_key(ring.ca, 1, KeyState.CURRENT, now)
    _put_first(tx, made, sealer, now)
    return Keyring((*ring.keys, made))


def _put_first(tx: Transaction, key: AuthorityKey, sealer: Sealer, now: float) -> None:
    put_key(tx, key, sealer)
    made = f"made the {WORDS[key.purpose]}, {thumbprint_of(key.certificate)}"
    audit.record(tx, Event(now, "engine", "trust make", f"trust/{key.purpose}", detail=made))


def stage(tx: Transaction, sealer: Sealer, purpose: Purpose, now: float) -> str:
    """Make the next key of a purpose and return the sentence for the person; raises Conflict in mid-change."""
    ring = with_snapshot_key(tx, sealer, now) if purpose is Purpose.SNAPSHOT else keyring(tx, sealer, now)
    if ring.found(purpose, KeyState.NEXT):
        raise Conflict(
            f"the next {WORDS[purpose]} is made already", f"put it to use with: reconcile trust switch {purpose}"
        )
    if ring.found(purpose, KeyState.FORMER):
        raise Conflict(
            f"the former {WORDS[purpose]} is not retired yet",
            f"end the trust in it with: reconcile trust retire {purpose}",
        )
    number = 1 + max(key.number for key in ring.keys if key.purpose is purpose)
    match purpose:
        case Purpose.CA:
            private_key = new_private_key()
            certificate = authority_certificate(private_key, now)
            made = AuthorityKey(purpose, number, certificate, private_key, KeyState.NEXT, now, now)
        case Purpose.SERVER:
            made = _server_key(ring.ca, number, KeyState.NEXT, now)
        case Purpose.SNAPSHOT:
            made = _snapshot_key(ring.ca, number, KeyState.NEXT, now)
    put_key(tx, made, sealer)
    told = f"made the next {WORDS[purpose]}, {thumbprint_of(made.certificate)}"
    if purpose is Purpose.SNAPSHOT:
        return f"{told}; `reconcile snapshot --key` prints it beside the present one"
    return f"{told}; agents hear of it when they greet"


def switch(tx: Transaction, sealer: Sealer, purpose: Purpose, now: float, *, forced: bool = False) -> str:
    """Put the next key of a purpose to use and return the sentence for the person.

    Raises Conflict where none is made, Refused where workers have not heard of the server's next key (unless `forced`).
    """
    ring = keyring(tx, sealer, now)
    following = ring.found(purpose, KeyState.NEXT)
    if following is None:
        raise Conflict(f"there is no next {WORDS[purpose]}", f"make one with: reconcile trust stage {purpose}")
    if purpose is Purpose.SERVER and not forced and (unseen := unseen_since(tx, following.since)):
        raise Refused(
            f"the next server key is unknown to {_named(unseen)}, not seen since it was made",
            "wait until they greet, or switch with --force and enrol them again",
        )
    move_key(tx, ring.current(purpose), KeyState.FORMER, now)
    move_key(tx, following, KeyState.CURRENT, now)
    return f"the {WORDS[purpose]} in use is {thumbprint_of(following.certificate)}"


def retire(tx: Transaction, sealer: Sealer, purpose: Purpose, now: float, *, forced: bool = False) -> str:
    """End the trust in the former key of a purpose, for ever, and return the sentence for the person.

    Raises Conflict where there is none, Refused where workers still rest on a former authority (unless `forced`).
    """
    ring = keyring(tx, sealer, now)
    former = ring.found(purpose, KeyState.FORMER)
    if former is None:
        raise Conflict(f"there is no former {WORDS[purpose]}", "`reconcile trust show` lists the keys")
    if purpose is Purpose.CA and not forced and (resting := uncertified_since(tx, ring.ca.since)):
        raise Refused(
            f"the former certificate authority still certifies {_named(resting)}",
            "wait until their agents renewed, or retire it with --force and enrol them again",
        )
    remove_key(tx, former)
    if purpose is Purpose.CA:
        for key in ring.keys:
            if key.purpose is Purpose.SERVER:
                set_certificate(tx, key, server_certificate(ring.ca, key.private_key, now))
    return f"the former {WORDS[purpose]}, {thumbprint_of(former.certificate)}, is trusted no longer"


def _server_key(ca: AuthorityKey, number: int, state: KeyState, now: float) -> AuthorityKey:
    private_key = new_private_key()
    certificate = server_certificate(ca, private_key, now)
    return AuthorityKey(Purpose.SERVER, number, certificate, private_key, state, now, now)


def _snapshot_key(ca: AuthorityKey, number: int, state: KeyState, now: float) -> AuthorityKey:
    private_key = new_signing_key()
    certificate = snapshot_certificate(ca, public_key(private_key), now)
    return AuthorityKey(Purpose.SNAPSHOT, number, certificate, private_key, state, now, now)


def _named(workers: Sequence[str]) -> str:
    """Return names in a sentence, and how many more there are."""
    rest = len(workers) - NAMED_MAX
    return ", ".join(workers[:NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")
