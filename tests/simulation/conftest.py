"""Options of the simulation: where the seeds begin."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="the first seed of the simulation")


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))
