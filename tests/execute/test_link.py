"""A link ends when it is told to, whatever happens to its session at the same moment."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.execute.carriers import Connection
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from tests.agent.worker import News


class Telling(PollingCarrier):
    """A carrier that tells when it has opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()

    async def open(self) -> Connection:
        connection = await super().open()
        self.opened.set()
        return connection


@pytest.mark.parametrize("turns", range(8))
async def test_a_link_that_is_cancelled_while_its_session_ends_ends(tmp_path: Path, turns: int) -> None:
    carrier = Telling()
    link = WorkerLink("w1", carrier, LogStore(tmp_path / "logs"), tmp_path / "blobs", News())
    running = asyncio.create_task(link.run())
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    carrier.take(Connection(reader, writer))
    await asyncio.wait_for(carrier.opened.wait(), 10)
    reader.feed_eof()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    theirs.close()
    if not done:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert done, "it waits for the agent to call again"
