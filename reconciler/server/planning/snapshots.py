"""Signed snapshots: the live state, redacted, as two lines of text that may lie anywhere.

The first line is the content in canonical JSON, the second the signature over that line. A signature shows who made a
snapshot to whoever knows the public key from elsewhere; the key in the file itself shows only that it is whole.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import canonical_json
from reconciler.model.trust import KeyState, Purpose
from reconciler.plan.snapshots import Snapshot, document, restored
from reconciler.plan.text import shown_revision
from reconciler.server.state.times import stamp
from reconciler.server.trust.keyring import Keyring
from reconciler.store import objects
from reconciler.store.authority import keys
from reconciler.store.certificates import public_key_of
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer
from reconciler.store.signing import is_signed, keys_in, normal, public_key, signature

FORMAT = "reconciler snapshot"
VERSION = 1
SALT_BYTES = 16
DAY = 86_400.0
"""Seconds; a plan warns of a snapshot that is older: whoever makes them once a day has a newer one."""

AGAIN = "make a new one with: reconcile snapshot --out FILE"


@dataclass(frozen=True, slots=True)
class Verified:
    """A snapshot whose signature holds; `by_known_key` where the key came from elsewhere than the file itself."""

    snapshot: Snapshot
    by_known_key: bool


def written(tx: Transaction, sealing: Callable[[Transaction], Sealer]) -> str | None:
    """Return a snapshot of now; None where there is no key to sign it with yet."""
    if not public_keys(tx):
        return None
    key = Keyring(keys(tx, sealing(tx))).current(Purpose.SNAPSHOT)
    content: dict[str, JsonValue] = {
        "format": FORMAT,
        "version": VERSION,
        **document(objects.live_state(tx), secrets.token_hex(SALT_BYTES)),
    }
    text = canonical_json(content)
    signed = {"key": public_key(key.private_key), "signature": signature(text, key.private_key)}
    return f"{text}\n{canonical_json(signed)}\n"


def public_keys(tx: Transaction) -> list[str]:
    """Return the keys (PEM) that snapshots are signed with: the present one and the next, if any."""
    found = [key for key in keys(tx, None) if key.purpose is Purpose.SNAPSHOT and key.state is not KeyState.FORMER]
    return [public_key_of(key.certificate) for key in sorted(found, key=lambda key: key.state is KeyState.NEXT)]


def opened(file: Path, key_file: Path | None) -> Verified:
    """Read a snapshot from a file, and the keys that it may be signed with; raises UsageMistake."""
    known = _known(key_file) if key_file is not None else []
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise UsageMistake(f"{file} is not a snapshot", AGAIN) from None
    return read(text, str(file), known)


def _known(file: Path) -> list[str]:
    try:
        return list(keys_in(file.read_text()))
    except ValueError:
        raise UsageMistake(
            f"{file} holds no public key of snapshots", "make it with: reconcile snapshot --key --out FILE"
        ) from None


def remarks(found: Verified, now: float) -> Iterator[str]:
    """Yield what whoever plans by a snapshot should know of it."""
    live = found.snapshot.live
    at = f" at {shown_revision(live.revision)}" if live.revision else ""
    yield f"From the snapshot of serial {live.serial}{at}, made {stamp(live.at)}"
    if not found.by_known_key:
        yield "Warning: the snapshot is whole, but who made it is not known: name the public key with --snapshot-key"
    days = (now - live.at) / DAY
    if days > 1:
        yield f"Warning: the snapshot is {int(days)} day{'s' if int(days) > 1 else ''} old: what was applied since is missing in the plan"


def read(text: str, name: str, known: Sequence[str]) -> Verified:
    """Read a snapshot; raises UsageMistake where it is none, or its signature does not hold.

    `known` are the public keys (PEM) of the installation; without any the one in the file is taken.
    """
    line, _, rest = text.partition("\n")
    content, signed = _json(line), _json(rest)
    if content is None or content.get("format") != FORMAT:
        raise UsageMistake(f"{name} is not a snapshot", AGAIN)
    if signed is None or rest != f"{canonical_json(signed)}\n" or not _holds(line, signed, known):
        raise UsageMistake(
            f"the signature of the snapshot {name} does not hold: it was changed, or another installation made it",
            AGAIN,
        )
    if content.get("version") != VERSION:
        raise UsageMistake(f"{name} was written by another version of reconcile", AGAIN)
    try:
        return Verified(restored(content), bool(known))
    except (KeyError, TypeError, ValueError):
        raise UsageMistake(f"{name} was written by another version of reconcile", AGAIN) from None


def _json(text: str) -> dict[str, JsonValue] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _holds(line: str, signed: dict[str, JsonValue], known: Sequence[str]) -> bool:
    """Say whether a line was signed with a key that is known or, where none is, with the one beside it."""
    by, proof = signed.get("key"), signed.get("signature")
    if not isinstance(by, str) or not isinstance(proof, str) or len(signed) != 2:
        return False
    try:
        return by == normal(by) and (not known or by in known) and is_signed(line, proof, [by])
    except ValueError:
        return False
