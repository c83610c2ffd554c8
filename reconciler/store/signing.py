"""Signatures over documents that leave the installation: Ed25519, with a key of its own that the state keeps sealed."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

_END = "-----END PUBLIC KEY-----"


def new_signing_key() -> str:
    """Make a key (PEM)."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key(private_key: str) -> str:
    """Return the public half (PEM) of a key."""
    return _pem(_private(private_key).public_key())


def signature(text: str, private_key: str) -> str:
    """Sign a text; base64 of 64 bytes."""
    return b64encode(_private(private_key).sign(text.encode())).decode()


def is_signed(text: str, signed: str, public_keys: Iterable[str]) -> bool:
    """Say whether a text was signed with one of these keys (PEM)."""
    try:
        raw = b64decode(signed, validate=True)
    except ValueError:
        return False
    if b64encode(raw).decode() != signed:
        return False
    return any(_fits(raw, text, _public(key)) for key in public_keys)


def keys_in(text: str) -> Iterator[str]:
    """Yield each public key (PEM) that stands in a text; raises ValueError where what stands there is none."""
    *blocks, rest = text.split(_END)
    if not blocks or rest.strip():
        raise ValueError
    for block in blocks:
        yield normal(f"{block.strip()}\n{_END}\n")


def normal(pem: str) -> str:
    """Return a public key (PEM) as we write it; raises ValueError where it is none."""
    return _pem(_public(pem))


def _fits(raw: bytes, text: str, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(raw, text.encode())
    except InvalidSignature:
        return False
    return True


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _private(pem: str) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey), "the keys of the installation are ours"
    return key


def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError
    return key
