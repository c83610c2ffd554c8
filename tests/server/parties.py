"""The parties of the trust tests: an installation, agents with keys of their own, and Git's declarations."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from reconciler.execute.listener import Issued, Refusal
from reconciler.execute.peers import Peer
from reconciler.model.live import LiveObject, SeenWorker
from reconciler.model.spec import Address, Position
from reconciler.protocol.identity import thumbprint_of_key
from reconciler.protocol.messages import Certified, Enrol, Renew
from reconciler.server.trust import enrolment
from reconciler.server.trust.keyring import Keyring, keyring
from reconciler.server.trust.tokens import create_token
from reconciler.store import objects, worker_status
from reconciler.store.keys import Sealer, sealer
from reconciler.store.writer import Store

NOW = 1_700_000_000.0
HOUR = 3_600.0
DAY = 86_400.0
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Installation:
    """A store with its keys, and people who act on it at a time that the test says."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder), folder)
        self.sealer: Sealer = self.store.write_now(lambda tx: sealer(tx, folder / "key"))

    def ring(self, now: float = NOW) -> Keyring:
        return self.store.write_now(lambda tx: keyring(tx, self.sealer, now))

    def token(self, worker: str = "worker-1", *pools: str, replace: bool = False, now: float = NOW) -> str:
        pin = self.ring(now).pin
        return self.store.write_now(
            lambda tx: create_token(tx, worker, pools or ("pool",), HOUR, replace=replace, by="ann", now=now, pin=pin)
        )[1]

    def enrol(self, agent: "Agent", token: str, now: float = NOW, **more: str) -> Issued | Refusal:
        ring, wish = self.ring(now), agent.wish(token, **more)
        return self.store.write_now(lambda tx: enrolment.enrol(tx, ring, wish, now))

    def renew(self, agent: "Agent", wanted: "Agent", now: float = NOW) -> Issued | Refusal:
        ring, peer = self.ring(now), Peer(agent.thumbprint, None)
        return self.store.write_now(lambda tx: enrolment.renew(tx, ring, peer, Renew(wanted.request()), now))

    def declare(self, worker: str, *agents: "Agent", subscription: str = "poll://worker-1") -> None:
        """Let Git declare a polling worker with the identities of `agents`."""
        found = polling_worker(worker, subscription, *(agent.thumbprint for agent in agents))
        self.store.write_now(lambda tx: (objects.put(tx, found), objects.next_serial(tx)))

    def greet(self, worker: str, now: float) -> None:
        """Let a worker's agent be seen."""
        seen = SeenWorker(now, "10.0.0.5", "0.1.0", "boot", "store", 1, {})
        self.store.write_now(lambda tx: worker_status.see(tx, worker, seen))


@dataclass(frozen=True, slots=True)
class Agent:
    """A machine with a key of its own."""

    key: PrivateKey

    @property
    def thumbprint(self) -> str:
        return thumbprint_of_key(
            self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def request(self, name: str = "anything") -> str:
        """Make a signing request that also asks for the rights of an authority, which is none of its business."""
        builder = x509.CertificateSigningRequestBuilder(_name(name))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(self.key, self._hash).public_bytes(serialization.Encoding.PEM).decode()

    def wish(self, token: str, *, subscription: str = "poll://worker-1", listen: str = "") -> Enrol:
        return Enrol((1,), token, self.request(), subscription, listen)

    def self_signed(self) -> str:
        """Make a certificate (PEM) that nobody else vouches for."""
        from datetime import UTC, datetime

        until = datetime.fromtimestamp(NOW + DAY, UTC)
        builder = x509.CertificateBuilder(_name("me"), _name("me"), self.key.public_key(), 1, until, until)
        return builder.sign(self.key, self._hash).public_bytes(serialization.Encoding.PEM).decode()

    def present(self, context: ssl.SSLContext, certificate: str) -> None:
        """Have a context show this agent's certificate."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with TemporaryDirectory() as folder:
            path = Path(folder) / "identity.pem"
            path.write_bytes(certificate.encode() + pem)
            context.load_cert_chain(path)

    @property
    def _hash(self) -> hashes.SHA256 | None:
        return None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def polling_worker(name: str, subscription: str, *thumbprints: str) -> LiveObject:
    """Return a polling worker as it stands in the live state."""
    listed = ",".join(f'"{thumbprint}"' for thumbprint in thumbprints)
    spec = '{"endpoint":{"polling":{"subscription":"%s","thumbprints":[%s]}},"pools":["pool"]}'
    return live("Worker", name, spec % (subscription, listed))


def live(kind: str, name: str, spec: str = "{}") -> LiveObject:
    return LiveObject(Address(kind, name), spec, "{}", "d", Position("space.yaml", 1), "r1")


def agent() -> Agent:
    return Agent(ec.generate_private_key(ec.SECP256R1()))


def issued(verdict: Issued | Refusal) -> Certified:
    assert isinstance(verdict, Issued), verdict
    return verdict.certified


def refused(verdict: object) -> tuple[str, str]:
    """Return the code and the text of a refusal."""
    assert isinstance(verdict, Refusal), verdict
    return verdict.code, verdict.text


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
