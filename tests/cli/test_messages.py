"""Every sentence that an error of the command line, the server, the store and the source can say, word for word.

`messages.txt` holds what the cases of the modules `mistakes_of_….py` made it say. To write it again after a change of
wording, run `REWRITE=1 pytest tests/cli/test_messages.py` and read the difference.
"""

import ast
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.model import errors
from tests.cli import (
    mistakes_of_access,
    mistakes_of_answers,
    mistakes_of_audits,
    mistakes_of_commands,
    mistakes_of_databases,
    mistakes_of_declaring,
    mistakes_of_drains,
    mistakes_of_followers,
    mistakes_of_forges,
    mistakes_of_operation,
    mistakes_of_servers,
    mistakes_of_snapshots,
    mistakes_of_states,
    mistakes_of_trust,
    mistakes_of_writing,
)
from tests.cli.said import Said

CASES = (
    mistakes_of_commands.CASES
    | mistakes_of_access.CASES
    | mistakes_of_answers.CASES
    | mistakes_of_audits.CASES
    | mistakes_of_states.CASES
    | mistakes_of_databases.CASES
    | mistakes_of_trust.CASES
    | mistakes_of_servers.CASES
    | mistakes_of_snapshots.CASES
    | mistakes_of_forges.CASES
    | mistakes_of_followers.CASES
    | mistakes_of_drains.CASES
    | mistakes_of_writing.CASES
    | mistakes_of_declaring.CASES
    | mistakes_of_operation.CASES
)
CATALOGUE = Path(__file__).parent / "messages.txt"
PACKAGE = Path(errors.__file__).parent.parent
SPEAKING = [
    *sorted((PACKAGE / "api").glob("*.py")),
    *sorted((PACKAGE / "cli").glob("*.py")),
    *sorted((PACKAGE / "server").rglob("*.py")),
    *sorted((PACKAGE / "store").glob("*.py")),
    PACKAGE / "declare" / "editing.py",
    PACKAGE / "declare" / "enrolled.py",
    PACKAGE / "declare" / "git.py",
    PACKAGE / "declare" / "source.py",
    PACKAGE / "plan" / "saved.py",
]
"""Modules whose every error has its place in the catalogue."""
CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type)}
ANYTHING = ".*"


def entries(text: str) -> dict[str, str]:
    """Return what is said by the name of the case."""
    return dict(re.findall(r"^## (.*)\n\n((?:(?!## ).*\n)+?)\n?(?=## |\Z)", text, re.MULTILINE))


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_answered_word_for_word(name: str, tmp_path: Path) -> None:
    said = CASES[name](tmp_path)
    text = said.settled(tmp_path)
    if os.environ.get("REWRITE"):
        known = entries(CATALOGUE.read_text()) if CATALOGUE.exists() else {}
        known[name] = text
        CATALOGUE.write_text("\n".join(f"## {case}\n\n{known[case]}" for case in CASES if case in known))
    assert text == entries(CATALOGUE.read_text())[name]


def test_the_catalogue_holds_the_cases_and_nothing_else() -> None:
    assert list(entries(CATALOGUE.read_text())) == list(CASES)


def test_every_sentence_ends_without_a_full_stop_and_names_no_class_of_ours() -> None:
    for name, text in entries(CATALOGUE.read_text()).items():
        message, *hints = text.splitlines()
        assert not message.endswith("."), name
        assert not re.search(r"\b(Traceback|Exception|errno|None|<[a-z]+ object)\b", text), name
        assert all(hint.startswith("  ") for hint in hints), name


def sites(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each place that makes an error, and the pattern of its message and hint."""
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (arguments := said_by(node)):
            message, hint = [*(pattern(argument, constants) for argument in arguments), ""][:2]
            yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno}", message + (f"\n  {hint}" if hint else "")


def said_by(call: ast.Call) -> list[ast.expr]:
    """Return the message and the hint where a call makes one of our errors, itself or as its own `__init__`."""
    match call.func:
        case ast.Name(name) if name in CLASSES:
            return call.args
        case ast.Attribute(ast.Call(ast.Name("super")), "__init__"):
            return call.args
    return []


def pattern(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """Return the regular expression of a text as the source writes it; what it computes may be anything."""
    match node:
        case ast.Constant(str(text)):
            return re.escape(text)
        case ast.JoinedStr(parts):
            return "".join(pattern(part, constants) for part in parts)
        case ast.BinOp(left, ast.Add(), right):
            return pattern(left, constants) + pattern(right, constants)
        case ast.Name(name) if name in constants:
            return pattern(constants[name], constants)
    return ANYTHING


@pytest.mark.parametrize("path", SPEAKING, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_error_that_the_sources_can_make_is_in_the_catalogue(path: Path) -> None:
    said = [text.rstrip("\n") for text in entries(CATALOGUE.read_text()).values()]
    missing = [
        place
        for place, wanted in sites(path)
        if not any(re.fullmatch(rf"(?:Error: )?{wanted}", text, re.DOTALL) for text in said)
    ]
    assert missing == [], "add a case to tests/cli/mistakes_of_*.py, then write the catalogue again"


def test_said_keeps_nothing_of_the_machine(tmp_path: Path) -> None:
    said = Said(f"{tmp_path}/x on {os.uname().nodename} (pid {os.getpid()})", "")
    assert said.settled(tmp_path) == "Error: DIR/x on HOST (pid PID)\n"
