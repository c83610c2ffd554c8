"""A hostile agent: its own key, a certificate that it was given or made, and a session whose every byte is the test's."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.protocol import messages
from reconciler.protocol.frames import Control, FileBytes, LogBytes, encoded
from reconciler.protocol.identity import thumbprint_of_key
from reconciler.protocol.journal import Kind, Level, Record
from reconciler.protocol.journal import encoded as recorded
from reconciler.protocol.messages import Certified, Enrol, Hello, Message
from reconciler.protocol.session import AgentSession, Event, RejectedError
from reconciler.protocol.tickets import Digest, Exited, Final, Running, TicketId, TicketReport, TicketSpec
from tests.hostile.premises import PATIENCE, POLLING, Premises

Heard = TypeVar("Heard")


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and, once somebody has certified it, a certificate."""

    name: str
    directory: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def thumbprint(self) -> str:
        return thumbprint_of_key(
            self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}.pem"

    def request(self) -> str:
        """Return a signing request that calls itself whatever this identity is called."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = x509.CertificateSigningRequestBuilder(subject)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def keep(self, certificate: str) -> None:
        """Write certificate and key where TLS finds them."""
        secret = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.path.write_bytes(certificate.encode() + secret)

    def context(self) -> ssl.SSLContext:
        """Return a context that shows the certificate, if there is one, and takes any server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.path.exists():
            context.load_cert_chain(self.path)
        return context


def hello(subscription: str = "poll://hostile-w2", **more: object) -> Hello:
    """Return a greeting as good as an honest agent's, but for what is given."""
    plain = Hello((messages.PROTOCOL_VERSION,), "store-of-w2", "boot-of-w2", 1, 0, subscription=subscription)
    return replace(plain, **more)  # type: ignore[arg-type]  # the fields are the caller's to know


class Line:
    """One TLS connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session = AgentSession(hello())
        self.session.outgoing()  # nothing is said but by the test
        self.session.epoch = 0  # and everything is heard
        self._events: list[Event] = []

    @classmethod
    async def opened(cls, premises: Premises, identity: Identity, source: str = "127.0.0.1") -> Self:
        """Shake hands from one of the loopback's addresses."""
        async with asyncio.timeout(PATIENCE):
            return cls(
                *await asyncio.open_connection(
                    "127.0.0.1", premises.agents_port, ssl=identity.context(), local_addr=(source, 0)
                )
            )

    def say(self, *words: Message | LogBytes | FileBytes | bytes) -> None:
        """Send messages, pieces of logs and files, or the bytes of a control frame as they are."""
        for word in words:
            match word:
                case bytes():
                    self.writer.write(encoded(Control(word)))
                case LogBytes() | FileBytes():
                    self.writer.write(encoded(word))
                case _:
                    self.writer.write(messages.frame_of(word))

    async def hear(self, kind: type[Heard], fits: Callable[[Heard], bool] = lambda _: True) -> Heard:
        """Return the next event of a kind; others before it can still be heard."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for place, event in enumerate(self._events):
                    if isinstance(event, kind) and fits(event):
                        del self._events[place]
                        return event
                data = await self.reader.read(65536)
                assert data, f"the server closed the connection where {kind.__name__} was expected"
                self._events += self.session.receive(data)

    async def refusal(self) -> messages.Reject:
        """Return the REJECT that the server answers with."""
        try:
            await self.hear(messages.Bye)
        except RejectedError as error:
            return messages.Reject(error.code, error.text, error.retry_after)
        raise AssertionError("the server said goodbye instead of refusing")

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection; what it says before is dropped."""
        async with asyncio.timeout(PATIENCE):
            with suppress(OSError):
                while await self.reader.read(65536):
                    pass
        return True

    def cut(self) -> None:
        """End the connection without a goodbye."""
        self.writer.transport.abort()

    async def greet(self, greeting: Hello | None = None, *reports: TicketReport) -> messages.HelloOk:
        """Open a session with an inventory."""
        self.say(greeting or hello())
        found = await self.hear(messages.HelloOk)
        self.say(messages.Inventory(reports, last=True))
        await self.hear(messages.Config)  # the server has compared the inventory
        return found

    async def taken(self) -> TicketSpec:
        """Accept the next attempt that is offered to run, as an honest agent would."""
        spec = (await self.hear(messages.Offer)).spec
        self.say(messages.State(TicketReport(spec.ticket, Running())))
        return spec


def printed(text: str, kind: Kind = Kind.STDOUT) -> bytes:
    """Return text as a record of a journal."""
    return recorded(Record(kind, Level.INFO, 0, text.encode()))


def final(ticket: TicketId, log: bytes = b"", *, code: int = 1, **more: object) -> Final:
    """Return how a ticket ended whose whole log is `log`; by default it failed, and is offered again."""
    from hashlib import sha256

    plain = Final(ticket, Exited(code), len(log), Digest(sha256(log).hexdigest()))
    return replace(plain, **more)  # type: ignore[arg-type]  # the fields are the caller's to know


async def enrolled(premises: Premises, name: str, pool: str = "hostile", more: str = "") -> Identity:
    """Enrol an identity of one's own as a worker that Git declares, with `more` beside it."""
    identity = Identity(name, premises.home)
    token = await asyncio.to_thread(premises.token, name, pool)
    line = await Line.opened(premises, identity)
    line.say(Enrol((messages.PROTOCOL_VERSION,), token, identity.request(), f"poll://hostile-{name}"))
    identity.keep((await line.hear(Certified)).certificate)
    line.cut()
    document = POLLING % (name, pool, name, identity.thumbprint)
    await asyncio.to_thread(premises.commit, f"{name}.yaml", document + more)
    return identity
