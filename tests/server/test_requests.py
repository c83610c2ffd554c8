"""Only a request that proves a fit key is certified."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from reconciler.store.certificates import REQUEST_BYTES_MAX, BadRequest, read_request
from tests.server.parties import Agent, PrivateKey, agent


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA 2048"],
)
def test_a_fit_key_is_known_by_its_thumbprint(key: PrivateKey) -> None:
    one = Agent(key)
    assert read_request(one.request()).thumbprint == one.thumbprint


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65_537, 1024),
        dsa.generate_private_key(2048),
    ],
    ids=["secp256k1", "Ed448", "RSA 1024", "DSA"],
)
def test_a_key_of_another_kind_is_refused(key: PrivateKey) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    signed = builder.sign(key, None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256())
    with pytest.raises(BadRequest, match="has a key of another kind than EC"):
        read_request(signed.public_bytes(serialization.Encoding.PEM).decode())


def test_a_key_that_its_sender_does_not_hold_is_refused() -> None:
    import base64
    import re

    from cryptography.hazmat.primitives import serialization

    def der(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    mine, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    lines = re.sub(r"-----.*-----|\n", "", Agent(mine).request())
    forged = base64.encodebytes(base64.b64decode(lines).replace(der(mine), der(theirs))).decode()
    with pytest.raises(BadRequest, match="is not signed by its own key"):
        read_request(f"-----BEGIN CERTIFICATE REQUEST-----\n{forged}-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize("text", ["", "nonsense", "\udcff", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_cannot_be_read(text: str) -> None:
    with pytest.raises(BadRequest, match="the certificate request cannot be read"):
        read_request(text)


def test_a_request_without_end_is_not_even_parsed() -> None:
    with pytest.raises(BadRequest, match="is longer than 16 KiB"):
        read_request(agent().request() + "x" * REQUEST_BYTES_MAX)
