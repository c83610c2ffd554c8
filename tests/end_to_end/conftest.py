"""How long and in which ways the link of two agents is cut."""

import pytest

from tests.end_to_end.namespaces import CUTS

CUT_LINES = 600
"""In `make test`: six seconds of a step that prints a line each 10 ms."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --cut-lines."""
    parser.addoption(
        "--cut-lines",
        type=int,
        metavar="N",
        help=f"cut the link for N lines, in each way [default: {CUT_LINES}, in one]",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each cut its way and its length."""
    if "cut_lines" in metafunc.fixturenames:
        given = metafunc.config.getoption("--cut-lines", None)
        cuts = [(how, given) for how in CUTS] if given else [(CUTS[0], CUT_LINES)]
        metafunc.parametrize(("how", "cut_lines"), cuts)
