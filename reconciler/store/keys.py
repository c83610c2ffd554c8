"""Sealing: sensitive values are AES-256-GCM-encrypted at rest, under a key that lies outside the database.

A sealed value is a version byte (1), the first 8 bytes of the key's fingerprint, a nonce of 12 bytes, and the
ciphertext with its tag. Its associated data names its row, so a value moved to another row does not open.
The key's file is one line, `reconciler-key-1:` and base64 of 32 bytes.
"""

import binascii
import json
import os
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reconciler.model.errors import StateUnreadable
from reconciler.store.database import Transaction

KEY_BYTES = 32
KEY_PREFIX = "reconciler-key-1:"
KEY_FILE_BYTES_MAX = 1_000  # a key's file is one short line
NONCE_BYTES = 12
SEALS = "seals"
"""The table of the key in use."""
VERSION = b"\x01"
HEADER_BYTES = 1 + 8 + NONCE_BYTES


class Sealer:
    """Seals and unseals texts with one key; shown, it tells the key's fingerprint alone."""

    __slots__ = ("_cipher", "fingerprint")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.fingerprint = sha256(b"reconciler key fingerprint\0" + key).hexdigest()[:32]

    def __repr__(self) -> str:
        return f"Sealer({self.fingerprint})"

    def seal(self, text: str, *row: str | int) -> bytes:
        """Encrypt `text` for the one row that `row` names."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + self._mark + nonce + self._cipher.encrypt(nonce, text.encode(), _bound(row))

    def unseal(self, sealed: bytes, *row: str | int) -> str:
        """Decrypt what `seal` returned for `row`; raises StateUnreadable for another key, row or a damaged value."""
        named = "/".join(map(str, row))
        if sealed[:1] != VERSION:
            raise StateUnreadable(
                f"the sealed value {named} has a form that this version does not know", "use a newer one"
            )
        if sealed[1:9] != self._mark:
            raise StateUnreadable(f"the sealed value {named} was sealed with another key", "bring back the former key")
        try:
            return self._cipher.decrypt(sealed[9:HEADER_BYTES], sealed[HEADER_BYTES:], _bound(row)).decode()
        except (InvalidTag, ValueError):
            raise StateUnreadable(
                f"the sealed value {named} is damaged or belongs to another place", "restore the state from a backup"
            ) from None

    @property
    def _mark(self) -> bytes:
        return bytes.fromhex(self.fingerprint[:16])


def sealer(tx: Transaction, path: Path, *, given: bool = False) -> Sealer:
    """Return the sealer of this store, whose key lies in the file `path`; needs a transaction that writes.

    The key is made at its first use, except where a person has `given` its file. Raises StateUnreadable where the key
    is missing though it is in use, is not the one in use, or may be read by others.
    """
    fingerprint = in_use(tx)
    if fingerprint is None:
        if not given:
            _make(path)
        found = Sealer(_read(path))
        tx.execute("INSERT INTO seals (one, fingerprint) VALUES (1, ?)", found.fingerprint)
        return found
    found = Sealer(_read(path))
    if found.fingerprint != fingerprint:
        raise StateUnreadable(
            f"the key {path} is not the one that sealed this state's sensitive values",
            "bring back the former key, the same on every node; without it those values are lost",
        )
    return found


def in_use(tx: Transaction) -> str | None:
    """Return the fingerprint of the key in use; None before the first."""
    row = tx.one("SELECT fingerprint FROM seals")
    return str(row[0]) if row else None


def _bound(row: tuple[str | int, ...]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def _make(path: Path) -> None:
    """Write a new key, durably, unless one is there."""
    line = KEY_PREFIX + b64encode(os.urandom(KEY_BYTES)).decode() + "\n"
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(beside, path)  # like O_EXCL, and never half written
        except FileExistsError:
            pass
        finally:
            beside.unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise StateUnreadable(
            f"the key {path} cannot be made: {error.strerror}", "make its directory writable for the user who runs this"
        ) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode & 0o777
            line = os.read(descriptor, KEY_FILE_BYTES_MAX)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise StateUnreadable(
            f"the key {path} is missing",
            "bring it back, from another node if there is one; without it this state's sensitive values are lost",
        ) from None
    except OSError as error:
        raise StateUnreadable(
            f"the key {path} cannot be read: {error.strerror}", "make it readable for the user who runs this"
        ) from error
    if mode & 0o077:
        raise StateUnreadable(f"the key {path} may be read by others (mode {mode:04o})", f"run: chmod 600 {path}")
    return _decoded(path, line)


def _decoded(path: Path, line: bytes) -> bytes:
    text = line.decode(errors="replace").strip()
    try:
        key = b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(KEY_PREFIX) or len(key) != KEY_BYTES:
        raise StateUnreadable(
            f"the key {path} is not a key of ours: it must be one line, {KEY_PREFIX} and base64 of {KEY_BYTES} bytes",
            "bring back the former file",
        )
    return key
