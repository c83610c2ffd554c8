"""Options of the simulation: where the seeds begin, how many of a fleet there are, and how many pairs of faults are tried."""

import pytest

PAIRS = 24
"""So many pairs of faults of each play in `make test`, drawn by the seed."""

SEEDS = 40
"""So many seeds of a fleet in `make test`."""


NODE_SEEDS = 8
"""So many seeds of a fleet with several servers in `make test`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="the first seed of the simulation")
    parser.addoption(
        "--seeds",
        type=int,
        metavar="N",
        help=f"seeds of a fleet, from the first on [default: {SEEDS}, and {NODE_SEEDS} of several servers]",
    )
    parser.addoption(
        "--pairs", type=int, default=PAIRS, metavar="N", help=f"pairs of faults; 0 for all [default: {PAIRS}]"
    )


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture
def pairs_max(request: pytest.FixtureRequest) -> int | None:
    return int(request.config.getoption("--pairs")) or None


@pytest.fixture
def seeds_max(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seeds") or SEEDS)


@pytest.fixture
def node_seeds_max(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seeds") or NODE_SEEDS)
