"""How many kills there are, spread over campaigns; and the summary of what they hit."""

from collections import Counter

import pytest

KILLS = 6
"""So many in `make test`, at least."""

KILLS_MAX = 4
"""Kills in one campaign: more than one, since going on after a kill is what the next kill hits."""

KILLS_EXPECTED = 2
"""Kills that a campaign comes to on the average: some deployments end before the next one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --kills and --kills-from."""
    parser.addoption("--kills", type=int, metavar="N", help=f"kill this many processes [default: {KILLS}]")
    parser.addoption("--kills-from", type=int, metavar="SEED", help="the first campaign's seed [default: 0]")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each campaign its seed."""
    if "seed" in metafunc.fixturenames:
        campaigns = -(-(metafunc.config.getoption("--kills", None) or KILLS) // KILLS_EXPECTED)
        first = metafunc.config.getoption("--kills-from", None) or 0
        metafunc.parametrize("seed", range(first, first + campaigns))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say who was killed, in which phases, and how long it took."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    campaigns = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    hits = [
        (victim, phase) for report in campaigns for name, (victim, phase) in report.user_properties if name == "hit"
    ]
    if not hits:
        return
    seconds = sum(report.duration for report in campaigns)
    terminalreporter.section(f"{len(hits)} kills in {len(campaigns)} campaigns, {seconds:.0f} s")
    for title, counts in (
        ("killed", Counter(victim for victim, _ in hits)),
        ("phase", Counter(phase for _, phase in hits)),
    ):
        for name, count in counts.most_common():
            terminalreporter.write_line(f"{title:8}{count:6}  {name}")
