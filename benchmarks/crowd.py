"""A crowd of agents with nothing to do, in one process: each has its own identity and connection, and keeps its session.

Run as a program by `agents.py`: PORT, the folder of their identities. They come back as our agents do.
"""

import asyncio
import random
import ssl
import sys
from pathlib import Path

from reconciler.agent.backoff import Backoff
from reconciler.protocol import messages
from reconciler.protocol.session import AgentSession, ProtocolError, RejectedError

SPREAD = 5.0  # seconds over which they come at first


def hello(name: str) -> messages.Hello:
    """Return an agent's greeting."""
    capabilities = {"bash": "5.2.15", "python3": "3.11.2", "os": "linux", "isolation.none": ""}
    return messages.Hello((1,), f"store-{name}", "boot", 1, 0, capabilities, subscription=f"poll://{name}")


def context_of(identity: Path) -> ssl.SSLContext:
    """Return a context that shows an identity."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(identity)
    return context


async def live(port: int, identity: Path) -> None:
    """Keep a session for ever."""
    context, backoff = context_of(identity), Backoff()
    await asyncio.sleep(random.uniform(0, SPREAD))
    while True:
        pause = 0.0
        try:
            await converse(port, context, identity.stem, backoff)
        except RejectedError as error:
            pause = error.retry_after
        except (OSError, ProtocolError, TimeoutError):
            pass
        await asyncio.sleep(backoff.delay(retry_after=pause))


async def converse(port: int, context: ssl.SSLContext, name: str, backoff: Backoff) -> None:
    """Hold one session until the server ends it."""
    async with asyncio.timeout(15):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 14)
    session = AgentSession(hello(name))
    pinging: asyncio.Task[None] | None = None
    try:
        while True:
            writer.write(session.outgoing())
            data = await reader.read(1 << 14)
            if not data:
                return
            for event in session.receive(data):
                match event:
                    case messages.HelloOk(interval=interval):
                        backoff.reset()
                        session.send_inventory([])
                        pinging = asyncio.create_task(ping(session, writer, interval))
                    case messages.Ping(sent):
                        session.send(messages.Pong(sent))
    finally:
        if pinging is not None:
            pinging.cancel()
        writer.transport.abort()


async def ping(session: AgentSession, writer: asyncio.StreamWriter, interval: float) -> None:
    """Show life."""
    while True:
        await asyncio.sleep(random.uniform(0.8, 1.0) * interval)
        session.send(messages.Ping(asyncio.get_running_loop().time(), 10**10, 0.1))
        writer.write(session.outgoing())


async def main(port: int, identities: list[Path]) -> None:
    """Let all of them live."""
    async with asyncio.TaskGroup() as crowd:
        for identity in identities:
            crowd.create_task(live(port, identity))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())))
