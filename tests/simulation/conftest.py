"""Options of the simulation: where the seeds begin, and how many pairs of faults are tried."""

import pytest

PAIRS = 24
"""So many pairs of faults of each play in `make test`, drawn by the seed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="the first seed of the simulation")
    parser.addoption(
        "--pairs", type=int, default=PAIRS, metavar="N", help=f"pairs of faults; 0 for all [default: {PAIRS}]"
    )


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture
def pairs_max(request: pytest.FixtureRequest) -> int | None:
    return int(request.config.getoption("--pairs")) or None
