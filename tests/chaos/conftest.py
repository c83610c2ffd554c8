"""How many kills and rounds there are, on which package; and the summary of what they hit."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.plants import PLANTS, planted

KILLS = 6
"""So many in `make test`, at least."""

KILLS_MAX = 4
"""Kills in one campaign: more than one, since going on after a kill is what the next kill hits."""

KILLS_EXPECTED = 2
"""Kills that a campaign comes to on the average: some deployments end before the next one."""

ROUNDS = 4
"""So many rounds of an installation with agents in `make test`."""

ROUNDS_OF_INSTALLATION = 4
"""Rounds of one installation: what one leaves behind is what the next stumbles over."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the counts and the first seeds."""
    parser.addoption("--kills", type=int, metavar="N", help=f"kill this many processes [default: {KILLS}]")
    parser.addoption("--kills-from", type=int, metavar="SEED", help="the first campaign's seed [default: 0]")
    parser.addoption("--rounds", type=int, metavar="N", help=f"so many rounds of troubles [default: {ROUNDS}]")
    parser.addoption("--rounds-from", type=int, metavar="SEED", help="the first installation's seed [default: 0]")
    parser.addoption("--planted", choices=sorted(PLANTS), help="run the rounds on a copy with this bug")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each campaign its seed."""
    if "seed" in metafunc.fixturenames:
        campaigns = -(-(metafunc.config.getoption("--kills", None) or KILLS) // KILLS_EXPECTED)
        first = metafunc.config.getoption("--kills-from", None) or 0
        metafunc.parametrize("seed", range(first, first + campaigns))
    if "campaign" in metafunc.fixturenames:
        installations = -(-(metafunc.config.getoption("--rounds", None) or ROUNDS) // ROUNDS_OF_INSTALLATION)
        first = metafunc.config.getoption("--rounds-from", None) or 0
        metafunc.parametrize("campaign", range(first, first + installations))


@pytest.fixture(scope="session")
def package(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment in which the processes of a round run: with `--planted` they take another package."""
    name = pytestconfig.getoption("--planted", None)
    return {"PYTHONPATH": str(planted(name, tmp_path_factory.mktemp("package")))} if name else {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say who was killed, in which phases, which troubles came, how rounds ended, and how long it took."""
    _sum_up(terminalreporter, "kills in {} campaigns", "hit", lambda hit: {"killed": [hit[0]], "phase": [hit[1]]})
    _sum_up(
        terminalreporter, "rounds in {} installations", "round", lambda found: {"ended": [found[0]], "met": found[1]}
    )


def _sum_up(
    terminalreporter: pytest.TerminalReporter, what: str, name: str, titled: Callable[[Any], dict[str, list[str]]]
) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    campaigns = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    having = [report for report in campaigns if any(key == name for key, _ in report.user_properties)]
    found = [titled(value) for report in having for key, value in report.user_properties if key == name]
    if not found:
        return
    seconds = sum(report.duration for report in having)
    terminalreporter.section(f"{len(found)} {what.format(len(having))}, {seconds:.0f} s")
    for title in found[0]:
        for value, count in Counter(each for one in found for each in one[title]).most_common():
            terminalreporter.write_line(f"{title:8}{count:6}  {value}")
