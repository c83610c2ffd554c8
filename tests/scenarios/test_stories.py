"""Every scenario says what it said when it was read and agreed to; see story.py for how they are written."""

from pathlib import Path

import pytest

from tests.scenarios.story import Story

PAGES = sorted(Path(__file__).parent.glob("*/*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_scenario_goes_as_it_is_told(page: Path, rewrite: bool) -> None:
    told = page.read_text()
    played = Story().told(told)
    if rewrite:
        page.write_text(played)
    assert played == page.read_text()


def test_there_are_scenarios() -> None:
    assert len(PAGES) > 30
