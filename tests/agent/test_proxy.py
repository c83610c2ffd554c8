"""A polling agent behind an HTTP proxy that wants to know who asks."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.agent.installation import installed

pytestmark = pytest.mark.end_to_end  # an agent is started in each, and often waited for


class Proxy:
    """A real proxy for CONNECT, with basic authentication; it writes down what it was asked."""

    def __init__(self, credentials: str) -> None:
        self._wanted = f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}"
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        self.asked.append(lines[0])
        if self._wanted not in lines:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = lines[0].split()[1].rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
        await asyncio.gather(pumped(reader, there[1]), pumped(there[0], writer))


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def proxying(credentials: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(credentials)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()


async def test_enrolment_and_sessions_go_through_the_proxy(tmp_path: Path) -> None:
    async with proxying("agent:pass word") as proxy, installed(tmp_path) as (authority, server, agent):
        agent.environment = {"RECONCILE_PROXY_CREDENTIALS": "agent:pass word"}
        await agent.enrolled(server, authority, "--proxy", f"http://127.0.0.1:{proxy.port}")
        agent.environment = {}  # from now on what enrolment has kept counts
        await agent.start()
        await (await server.peer()).greet()
        assert proxy.asked == [f"CONNECT {server.address} HTTP/1.1"] * 2
        kept = agent.state / "proxy-credentials"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "pass word" not in agent.log() + (agent.state / "agent.json").read_text()


async def test_a_proxy_that_wants_other_credentials_is_a_sentence(tmp_path: Path) -> None:
    async with proxying("agent:secret") as proxy, installed(tmp_path) as (authority, server, agent):
        token = authority.token()
        refused = await agent.enrolling(server, token, "--proxy", f"http://127.0.0.1:{proxy.port}")
        assert refused.stderr == (
            f"reconcile-agent: {server.address} through the proxy 127.0.0.1:{proxy.port}: "
            "the proxy wants other credentials (407)\n"
        )
