"""One server for all attacks: what one of them leaves broken, the next one meets."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.hostile.intruder import Identity, Line, enrolled
from tests.hostile.premises import DEPLOYMENT, Premises

GROWTH_MAX = 100 << 20
"""Bytes by which the server may grow under any attack."""


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Give a server whose honest agent runs a step from the first attack to the last."""
    premises = Premises(tmp_path_factory.mktemp("hostile"))
    try:
        premises.open()
        yield premises
        premises.finish()
    finally:
        premises.close()


@pytest.fixture(scope="package")
def w2(installation: Premises) -> Identity:
    """Give the identity of a worker that Git declares, in hostile hands."""
    return asyncio.run(enrolled(installation, "w2", more=DEPLOYMENT % ("bait", "bait")))


@pytest.fixture
def premises(installation: Premises) -> Iterator[Premises]:
    """Give the installation, and see afterwards that nobody but the attacker has noticed."""
    before, ticket = installation.memory(), installation.honest_ticket()
    yield installation
    assert installation.is_healthy()
    assert installation.honest_ticket() == ticket, "the honest agent has lost its step"
    assert "Traceback" not in installation.said, installation.said
    assert installation.memory() - before < GROWTH_MAX


@pytest_asyncio.fixture
async def line(premises: Premises, w2: Identity) -> AsyncIterator[Line]:
    """Give a connection of w2 that has said nothing yet."""
    line = await Line.opened(premises, w2)
    yield line
    line.cut()
