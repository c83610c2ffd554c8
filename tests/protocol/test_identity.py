"""Thumbprints from the bytes of certificates, compared with a library; broken bytes are a sentence."""

import base64
import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from reconciler.protocol.identity import CertificateError, is_issued_by, thumbprint, validity

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def certificate(key: Key, name: str, now: dt.datetime = SINCE) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    )
    return built.public_bytes(Encoding.DER)


KEYS = [
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]


@pytest.mark.parametrize("key", KEYS, ids=["ec", "ed25519", "rsa"])
def test_a_thumbprint_is_that_of_the_public_key(key: Key) -> None:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    expected = "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    assert thumbprint(certificate(key, "a")) == thumbprint(certificate(key, "b" * 60)) == expected


def test_an_issuer_is_told_from_others() -> None:
    ours, other = certificate(KEYS[0], "ours"), certificate(KEYS[1], "other")
    assert is_issued_by(ours, certificate(KEYS[2], "ours"))
    assert not is_issued_by(ours, other)


@pytest.mark.parametrize("length", [0, 1, 2, 10, 40, 100, 200])
def test_a_cut_certificate_is_said_to_be_unreadable(length: int) -> None:
    with pytest.raises(CertificateError, match="the other end's certificate cannot be read"):
        thumbprint(certificate(KEYS[0], "a")[:length])


@given(seconds=st.integers(-2_300_000_000, 251_000_000_000))
def test_validity_is_what_the_certificate_says_from_1953_to_9980(seconds: int) -> None:
    now = SINCE + dt.timedelta(seconds=seconds)
    found = validity(certificate(KEYS[1], "a", now))
    assert found == (now.timestamp(), (now + dt.timedelta(days=1)).timestamp())


@pytest.mark.parametrize("month", [b"00", b"13", b"99"])
def test_a_month_that_does_not_exist_is_said_to_be_unreadable(month: bytes) -> None:
    broken = certificate(KEYS[1], "a").replace(b"260101000000Z", b"26" + month + b"01000000Z")
    with pytest.raises(CertificateError, match="the other end's certificate cannot be read"):
        validity(broken)
