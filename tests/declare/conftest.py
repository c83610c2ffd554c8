"""What the tests of loading share."""

from pathlib import Path

import pytest

from tests.declare.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "space")
