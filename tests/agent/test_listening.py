"""A listening agent: who gets through its door, and what happens to whom it serves when another comes."""

import asyncio
import socket
import ssl
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from reconciler.protocol import messages
from reconciler.protocol.session import Connected
from tests.agent.installation import Agent, Authority, Peer, installed, pem, thumbprint_of

pytestmark = pytest.mark.end_to_end  # an agent is started in each, and often waited for


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def trusting(agent: Agent, authority: Authority, listen: str) -> str:
    """Let an agent trust an authority's server by hand and return its document."""
    file = agent.state.parent / "ca.pem"
    file.write_text(pem(authority.certificate))
    pin = thumbprint_of(authority.server)
    done = agent.command(
        "trust", "--ca", str(file), "--pin", pin, "--listen", listen, "--name", "web-02", "--pool", "linux"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def dial(authority: Authority, port: int, host: str = "127.0.0.1", name: str = "server") -> Peer:
    context = authority.context(dials=True, name=name)
    return Peer(*await asyncio.open_connection(host, port, ssl=context))


async def started(agent: Agent) -> None:
    await agent.start()
    await agent.logged("started")


async def test_a_server_that_was_trusted_by_hand_gets_through(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        document = trusting(agent, authority, f"127.0.0.1:{port}")
        await started(agent)
        peer = await dial(authority, port)
        hello = await peer.greet()
        assert hello.subscription == ""
        assert document == (
            "apiVersion: reconciler/v1\nkind: Worker\nmetadata:\n  name: web-02\nspec:\n  pools: [linux]\n"
            f'  endpoint:\n    listening:\n      host: "127.0.0.1"\n      port: {port}\n'
            f'      thumbprints: ["{peer.thumbprint}"]\n'
        )


async def test_an_agent_listens_on_ipv6(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        trusting(agent, authority, f"[::1]:{port}")
        await started(agent)
        await (await dial(authority, port, "::1")).greet()


async def test_a_newer_connection_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        trusting(agent, authority, f"127.0.0.1:{port}")
        await started(agent)
        first = await dial(authority, port)
        await first.greet()
        second = await dial(authority, port)
        await second.greet(1)
        assert (await second.hear(Connected)).epoch == 2
        assert (await first.hear(messages.Bye)).reason == "a newer connection has come"
        await first.rest()


async def test_whom_the_authority_does_not_know_is_not_spoken_to(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        trusting(agent, authority, f"127.0.0.1:{port}")
        await started(agent)
        stranger = await dial(Authority(tmp_path / "other"), port)
        with pytest.raises(ssl.SSLError):
            await stranger.reader.read()
        await agent.logged("certificate is not signed by a trusted authority")
        await (await dial(authority, port)).greet()


async def test_another_key_of_the_same_authority_is_not_spoken_to(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        trusting(agent, authority, f"127.0.0.1:{port}")
        await started(agent)
        other = authority.new_server("other")
        stranger = await dial(authority, port, name="other")
        assert await stranger.rest() == b""
        await agent.logged(f"it is {thumbprint_of(other)}, trusted is {thumbprint_of(authority.server)}")


async def test_those_who_do_not_shake_hands_hold_nobody_up(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, _, agent):
        port = free_port()
        trusting(agent, authority, f"127.0.0.1:{port}")
        await started(agent)
        peer = await dial(authority, port)
        await peer.greet()
        lazy = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        begun = time.monotonic()
        peer.say(messages.Ping(7.0))
        assert (await peer.hear(messages.Pong)).sent == 7.0
        assert time.monotonic() - begun < 2
        closed = 0
        for connection in lazy:
            connection.settimeout(0.2)
            with closing(connection), suppress(TimeoutError):
                closed += connection.recv(1) == b""
        assert closed == 20 - 8
