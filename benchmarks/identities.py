"""Identities of a crowd of agents: keys, the workers that are declared with them, and certificates of an authority."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.protocol.identity import thumbprint_of_key
from reconciler.server.engine.engine import open_engine
from reconciler.server.state.place import place_of
from reconciler.server.trust.authority import Authority

Keys: TypeAlias = Mapping[str, ec.EllipticCurvePrivateKey]
"""The key of each agent, by the name of its worker."""

WORKER = """\
---
apiVersion: reconciler/v1
kind: Worker
metadata: {{name: {name}}}
spec: {{pools: [agents], endpoint: {{polling: {{subscription: "poll://{name}", thumbprints: ["{thumbprint}"]}}}}}}
"""


def new_keys(count: int) -> Keys:
    """Make so many keys."""
    return {f"idle-{number:04}": ec.generate_private_key(ec.SECP256R1()) for number in range(count)}


def workers_of(keys: Keys) -> str:
    """Declare a polling worker for each key."""
    return "".join(_declared(name, key) for name, key in keys.items())


def certify(space: Path, data: Path, keys: Keys, folder: Path) -> None:
    """Write an identity for each key into a folder, as the authority of a server that is not yet running."""
    folder.mkdir()
    asyncio.run(_certify(space, data, keys, folder))


def _declared(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return WORKER.format(name=name, thumbprint=thumbprint_of_key(public))


async def _certify(space: Path, data: Path, keys: Keys, folder: Path) -> None:
    async with open_engine(place_of(str(space), str(data), None)) as engine:
        now = time.time()
        authority = await Authority.open(engine.store, engine.sealer, now)
        for name, key in keys.items():
            certificate = authority.certify(_request(name, key), name, now).pem
            secret = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            (folder / f"{name}.pem").write_bytes(certificate.encode() + secret)


def _request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
