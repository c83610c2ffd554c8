"""What a TLS connection of ours costs while nothing is said on it, and who is at its other end."""

import asyncio
import tracemalloc
from pathlib import Path

from reconciler.execute.peers import peer_of
from reconciler.server.trust.authority import Authority
from tests.server.parties import NOW, Installation

CONNECTIONS = 20
EACH_MAX = 64 << 10  # bytes for one end; asyncio's own buffer alone would take 256 KiB


async def test_an_idle_connection_costs_little_memory_and_names_its_peer(tmp_path: Path) -> None:
    here = Installation(tmp_path)
    authority = await Authority.open(here.store, here.sealer, NOW)
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda _, writer: accepted.put_nowait(writer), "127.0.0.1", ssl=authority.listener_context()
    )
    port = server.sockets[0].getsockname()[1]

    async def opened() -> tuple[asyncio.StreamWriter, asyncio.StreamWriter]:
        context = authority.dialling_context()
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="agent")
        return writer, await accepted.get()

    pairs = [await opened()]  # what is made once is made
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    pairs += [await opened() for _ in range(CONNECTIONS)]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / (2 * CONNECTIONS) < EACH_MAX
    found = [peer_of(writer) for pair in pairs for writer in pair]
    assert {peer.thumbprint for peer in found if peer is not None} == {authority.pin}
    for pair in pairs:
        for writer in pair:
            writer.transport.abort()
    server.close()
    here.store.close()
