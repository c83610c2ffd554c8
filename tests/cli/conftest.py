"""What the tests of the command line share."""

from pathlib import Path

import pytest

from tests.cli.workplace import Workplace


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Make a repository that declares a shop of one quick step, committed."""
    found = Workplace(tmp_path / "space")
    found.declare_shop()
    found.commit()
    return found
