"""A bug of ours in a link: the engine ends with it, rather than give a worker silently no more work."""

import asyncio
from pathlib import Path

import pytest

from reconciler.execute.carriers import Connection
from tests.server.parties import polling_worker
from tests.server.test_roster import FIRST, office

PATIENCE = 10.0  # seconds; a test that waits longer has failed


class Broken:
    """A carrier with a bug."""

    async def open(self) -> Connection:
        raise LookupError("a bug of ours")

    async def close(self) -> None:
        """Close nothing."""


async def test_a_bug_in_a_link_ends_the_roster(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        await place.declare(polling_worker("w1", "poll://worker-1", FIRST))
        await place.grounds.links["w1"].reroute(Broken())
        place.roster.change()
        with pytest.raises(LookupError, match="a bug of ours"):
            async with asyncio.timeout(PATIENCE):
                await place.roster.run()
