"""Statements that are easy to get wrong, each as a pair: what holds is accepted, what does not is explained."""

import os
from pathlib import Path

import pytest

from reconciler.declare.render import as_text
from tests.declare.checking import check

STATEMENTS = Path(__file__).parent.parent / "declarations" / "statements"


@pytest.mark.parametrize("path", sorted(STATEMENTS.glob("*.valid.yaml")), ids=lambda path: path.stem)
def test_what_holds_is_accepted(path: Path) -> None:
    assert check({path.name: path.read_text()}) == []


@pytest.mark.parametrize("path", sorted(STATEMENTS.glob("*.invalid.yaml")), ids=lambda path: path.stem)
def test_what_does_not_hold_is_explained(path: Path) -> None:
    found = check({path.name: path.read_text()})
    shown = "\n".join([*as_text(found, lambda _: path.read_text()), ""])
    expected = path.with_suffix(".txt")
    if os.environ.get("REWRITE"):
        expected.write_text(shown)
    assert shown == expected.read_text()
    assert found


def test_each_statement_is_a_pair() -> None:
    kinds = {path.name.partition(".")[0]: set() for path in STATEMENTS.iterdir()}
    for path in STATEMENTS.iterdir():
        kinds[path.name.partition(".")[0]].add(path.name.partition(".")[2])
    assert set(map(frozenset, kinds.values())) == {frozenset({"valid.yaml", "invalid.yaml", "invalid.txt"})}
