"""Each sentence that a plan can say is shown once in a scenario or a test, word for word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SAID_BY = [
    *sorted((ROOT / "reconciler/plan").glob("*.py")),
    *(
        ROOT / "reconciler/schedule" / name
        for name in ("placement.py", "progress.py", "queue.py", "selection.py", "fleet.py", "outcomes.py")
    ),
]
SHOWN_IN = [
    *(ROOT / "tests/scenarios").glob("*/*.md"),
    *(ROOT / "tests/plan").glob("test_*.py"),
    *(ROOT / "tests/schedule").glob("test_*.py"),
    *(ROOT / "tests/cli").glob("test_*.py"),
    ROOT / "tests/cli/messages.txt",
    ROOT / "docs/rehearsal.md",  # played by the tests of the documentation
]
_FILLED = "\0"  # stands for what is filled in; no sentence holds it
WORDS_MIN = 3  # fewer are a name or a part of a sentence


def sentences(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield each text of a module that is no docstring, cut where something is filled in."""
    tree = ast.parse(path.read_text())
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(value) for node in joined for value in node.values}
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    whole = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in inside | silent
    ]
    whole += [
        "".join(_FILLED if isinstance(v, ast.FormattedValue) else v.value for v in node.values) for node in joined
    ]
    for text in whole:
        if isinstance(text, str):
            yield from (tuple(re.split(r"\0|\{\w+\}", line)) for line in text.splitlines())


def is_sentence(parts: tuple[str, ...]) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", " ".join(parts))) >= WORDS_MIN


def holds(line: str, parts: tuple[str, ...]) -> bool:
    """Say whether the parts stand in the line, one after the other."""
    at = 0
    for part in parts:
        at = line.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


@pytest.mark.parametrize("path", SAID_BY, ids=lambda path: path.stem)
def test_every_sentence_is_shown_somewhere(path: Path) -> None:
    texts = [page.read_text() for page in SHOWN_IN]
    lines = [line.replace("\\n", "\n") for text in texts for line in text.splitlines()]
    found = [parts for parts in sentences(path) if is_sentence(parts)]
    assert [parts for parts in found if not any(holds(line, parts) for line in lines)] == []
