"""An installation for tests: an authority, a server on a loopback port that is told what to do, and real agent processes."""

import asyncio
import base64
import datetime as dt
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.execute.carriers import Connection
from reconciler.protocol import messages
from reconciler.protocol.identity import thumbprint
from reconciler.protocol.messages import Certified, Message, Trust
from reconciler.protocol.session import Event, ServerSession

THIS_AGENT = (sys.executable, "-I", "-m", "reconciler.agent")
PATIENCE = 15.0  # seconds; a test that waits longer has failed
NO_CHECK_TIME = 0x200000
NOW = dt.datetime.now(dt.UTC)
YEAR = dt.timedelta(days=365)

Heard = TypeVar("Heard")


async def until(holds: Callable[[], object]) -> None:
    """Wait until something outside holds that nobody tells us of."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def thumbprint_of(certificate: x509.Certificate) -> str:
    return thumbprint(certificate.public_bytes(serialization.Encoding.DER))


class Authority:
    """An authority and one server key that it has signed."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.signed(self._key.public_key(), "authority", is_authority=True)
        self.server = self.new_server("server")

    def new_server(self, name: str) -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.signed(key.public_key(), name)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._directory / f"{name}.pem").write_bytes(pem(certificate).encode() + secret)
        return certificate

    def signed(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        *,
        is_authority: bool = False,
        since: dt.datetime = NOW,
        until: dt.datetime = NOW + YEAR,
    ) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = x509.CertificateBuilder(
            named("authority"), named(name), key, x509.random_serial_number(), since, until
        )
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def certify(self, request: str, name: str, *, since: dt.datetime = NOW, until: dt.datetime = NOW + YEAR) -> str:
        key = x509.load_pem_x509_csr(request.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return pem(self.signed(key, name, since=since, until=until))

    def trust(self) -> Trust:
        return Trust((pem(self.certificate),), (thumbprint_of(self.server),))

    def token(self, secret: str = "sesame") -> str:
        pin = base64.b64decode(thumbprint_of(self.server).partition(":")[2] + "=")
        return f"rct1.0123abcd.{secret}.{base64.urlsafe_b64encode(pin).decode().rstrip('=')}"

    def context(self, *, dials: bool = False, name: str = "server") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if dials else ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._directory / f"{name}.pem")
        if dials:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=pem(self.certificate))
            context.verify_flags |= NO_CHECK_TIME  # type: ignore[assignment] # a flag that the module does not name
        return context


class Peer:
    """The server's end of one connection, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session = ServerSession(1.0)
        self._events: list[Event] = []
        certificate = writer.get_extra_info("ssl_object").getpeercert(True)
        self.thumbprint = thumbprint(certificate) if certificate else ""

    async def hear(self, kind: type[Heard]) -> Heard:
        """Return the next event of a kind; others before it are dropped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._events:
                    event = self._events.pop(0)
                    if isinstance(event, kind):
                        return event
                data = await self.reader.read(65536)
                assert data, f"the agent closed the connection where {kind.__name__} was expected"
                self._events += self.session.receive(data)

    def say(self, message: Message) -> None:
        self.session.send(message)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.session.outgoing())

    async def greet(self, epoch: int = 0) -> messages.Hello:
        """Take the session."""
        hello = await self.hear(messages.Hello)
        self.session.welcome(epoch)
        self.flush()
        return hello

    def reject(self, code: str, text: str, retry_after: float = 0.0) -> None:
        self.session.reject(code, text, retry_after)
        self.flush()
        self.close()

    def close(self) -> None:
        self.writer.close()

    async def rest(self) -> bytes:
        """Return everything that comes until the agent closes the connection."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):  # it has left something unread, such as a ticket of TLS
                while piece := await self.reader.read(65536):
                    data += piece
        return data


class Server:
    """Listens for agents; each connection is a `Peer` that the test speaks for."""

    def __init__(self, authority: Authority, name: str = "server") -> None:
        self._context = authority.context(name=name)
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self._listener: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int = 0) -> None:
        self._listener = await asyncio.start_server(self._take, "127.0.0.1", port, ssl=self._context)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._arrived.put_nowait(Peer(reader, writer))


class Answering:
    """A carrier that takes whatever connection the agent opens next; cutting it is the test's."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.peer: Peer | None = None

    async def open(self) -> Connection:
        self.peer = await self._server._arrived.get()
        return Connection(self.peer.reader, self.peer.writer)

    async def close(self) -> None:
        if self.peer is not None:
            self.peer.close()

    def cut(self) -> None:
        """Break the connection without a goodbye."""
        assert self.peer is not None
        self.peer.writer.transport.abort()


@dataclass
class Agent:
    """An agent's state directory and the process that works on it."""

    state: Path
    program: Sequence[str] = THIS_AGENT
    process: asyncio.subprocess.Process | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self.program, arguments[0], "--state", str(self.state), *arguments[1:]]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=60, env=self._environment
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    async def enrolled(
        self, server: Server, authority: Authority, *options: str, worker: str = "web-01", **life: dt.datetime
    ) -> str:
        """Enrol with a server that grants whatever is asked, and return the document."""
        running = self.enrolling(server, authority.token(), *options)
        peer = await server.peer()
        question = await peer.hear(messages.Enrol)
        certificate = authority.certify(question.request, worker, **life)
        peer.say(Certified(certificate, authority.trust(), worker, ("linux",)))
        done = await running
        assert done.returncode == 0, done.stderr
        return done.stdout

    def enrolling(self, server: Server, token: str, *options: str) -> asyncio.Task[subprocess.CompletedProcess[str]]:
        """Begin to enrol."""
        arguments = ("enrol", "--server", server.address, "--token-file", "-", *options)
        return asyncio.create_task(asyncio.to_thread(self.command, *arguments, stdin=token))

    async def start(self) -> None:
        with (self.state / "agent.log").open("ab") as log:
            command = [*self.program, "run", "--state", str(self.state)]
            self.process = await asyncio.create_subprocess_exec(*command, stderr=log, env=self._environment)

    def log(self) -> str:
        return (self.state / "agent.log").read_text()

    async def logged(self, text: str) -> None:
        """Wait until the agent's log holds `text`."""
        await until(lambda: text in self.log())

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def installed(
    directory: Path, program: Sequence[str] = THIS_AGENT
) -> AsyncIterator[tuple[Authority, Server, Agent]]:
    """Give an authority, a server that listens, and an agent that is neither enrolled nor started."""
    authority = Authority(directory / "authority")
    server = Server(authority)
    await server.open()
    agent = Agent(directory / "agent", program)
    try:
        yield authority, server, agent
    finally:
        if agent.process is not None and agent.process.returncode is None:
            agent.process.kill()
            await agent.process.wait()
        await server.close()
