"""X.509: certificates of the installation's own keys, and those that it gives to agents on their request."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from ssl import PEM_cert_to_DER_cert

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reconciler.model.errors import ReconcilerError
from reconciler.model.trust import AuthorityKey
from reconciler.protocol.identity import thumbprint, thumbprint_of_key

DAY = 86_400.0
AGENT_LIFE = 365 * DAY
OWN_LIFE = 20 * 365 * DAY
"""Of the installation's own certificates: its pin is what changes, by `trust stage`, not a date."""

BACKDATED = 300.0
"""Seconds before now from which a certificate holds: clocks differ."""

REQUEST_BYTES_MAX = 16 << 10
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
"""Smaller ones are weak, larger ones make each handshake slow."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Those that TLS 1.3 signs with."""

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class BadRequest(ReconcilerError):
    """Nothing is certified on this request."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the certificate request {reason}", "make another one with: reconcile agent enrol")


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """The key that a request proves to be its sender's; all else that it says is ignored."""

    public_key: PublicKey = field(repr=False)
    thumbprint: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate (PEM) with its key's thumbprint and its end in seconds since the epoch."""

    pem: str
    thumbprint: str
    expires_at: float


def new_private_key() -> str:
    """Make a key (PEM) on the curve P-256."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def authority_certificate(private_key: str, now: float) -> str:
    """Return the certificate (PEM) of a new certificate authority, signed by itself."""
    key = _private(private_key)
    name = _name(f"reconciler CA {_key_identifier(key.public_key()).digest.hex()[:8]}")
    usage = _usage(certifies=True)
    builder = _builder(name, name, key.public_key(), now, now + OWN_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return _signed(builder.add_extension(usage, critical=True), key)


def server_certificate(ca: AuthorityKey, private_key: str, now: float) -> str:
    """Return the certificate (PEM) of a key of the server, for its both roles."""
    return _leaf(ca, _private(private_key).public_key(), "reconciler server", now, OWN_LIFE).pem


def snapshot_certificate(ca: AuthorityKey, public_key: str, now: float) -> str:
    """Return the certificate (PEM) of a key (PEM) that signs snapshots."""
    key = serialization.load_pem_public_key(public_key.encode())
    assert isinstance(key, ed25519.Ed25519PublicKey), "the keys of the installation are ours"
    return _leaf(ca, key, "reconciler snapshots", now, OWN_LIFE).pem


def read_request(pem: str) -> CertificateRequest:
    """Read a signing request (PEM); raises BadRequest."""
    if len(pem) > REQUEST_BYTES_MAX:
        raise BadRequest(f"is longer than {REQUEST_BYTES_MAX >> 10} KiB")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = _fit(request.public_key())
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadRequest("cannot be read") from None
    if not proven:
        raise BadRequest("is not signed by its own key")
    return CertificateRequest(key, thumbprint_of_key(_encoded(key)))


def certify(ca: AuthorityKey, request: CertificateRequest, worker: str, now: float) -> Certificate:
    """Certify a key as that of `worker`; nothing else that its request says counts."""
    return _leaf(ca, request.public_key, worker, now, AGENT_LIFE)


def thumbprint_of(certificate: str) -> str:
    """Return the thumbprint of a certificate (PEM)."""
    return thumbprint(PEM_cert_to_DER_cert(certificate))


def public_key_of(certificate: str) -> str:
    """Return the public key (PEM) of a certificate (PEM)."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _leaf(ca: AuthorityKey, public_key: PublicKey, subject: str, now: float, life: float) -> Certificate:
    issuer = x509.load_pem_x509_certificate(ca.certificate.encode())
    until = min(now + life, issuer.not_valid_after_utc.timestamp())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(_name(subject), issuer.subject, public_key, now, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(certifies=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    signer = _private(ca.private_key)
    issued_by = x509.AuthorityKeyIdentifier(_key_identifier(signer.public_key()).digest, None, None)
    pem = _signed(builder.add_extension(issued_by, critical=False), signer)
    return Certificate(pem, thumbprint_of_key(_encoded(public_key)), float(int(until)))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: float, until: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now - BACKDATED, UTC))
        .not_valid_after(datetime.fromtimestamp(int(until), UTC))
        .add_extension(_key_identifier(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> str:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _usage(*, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "the keys of the installation are ours"
    return key


def _encoded(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_identifier(key: PublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _fit(key: object) -> PublicKey:
    """Return a key of a kind that agents may have; raises BadRequest."""
    match key:
        case ed25519.Ed25519PublicKey():
            return key
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return key
        case rsa.RSAPublicKey() if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            return key
    raise BadRequest(
        f"has a key of another kind than EC (P-256, P-384, P-521), Ed25519 or RSA ({RSA_BITS_MIN} to {RSA_BITS_MAX} bits)"
    )
