"""What each example of a declaration must be told, word for word.

`tests/declarations/invalid/CODE.yaml` stands beside `CODE.txt`, what a person reads. To write the texts again after a
change of wording, run `REWRITE=1 pytest tests/declare/test_declarations.py` and read the difference.
"""

import ast
import os
import re
from pathlib import Path

import jsonschema
import pytest

from reconciler.declare.codes import CODES
from reconciler.declare.core_schema import plain
from reconciler.declare.documents import parse_file
from reconciler.declare.nodes import Source
from reconciler.declare.render import as_text
from reconciler.declare.schema import schemas
from reconciler.declare.yaml import Composer, chunks
from reconciler.model.kinds import KINDS
from tests.declare.checking import check
from tests.declare.diagnostics_page import PAGE, page
from tests.declare.examples import EXAMPLES, IN_RECONCILE_YAML, MADE, told

DECLARATIONS = Path(__file__).parent.parent / "declarations"
VALID = sorted((DECLARATIONS / "valid").glob("*.yaml"))
SOURCES = [
    path
    for package in ("declare", "model", "steps")
    for path in sorted((DECLARATIONS.parent.parent / "reconciler" / package).glob("*.py"))
    if path.name != "codes.py"
]
EMITTERS = {"error", "warning", "Diagnostic", "_error", "_at", "_report", "PydanticCustomError"}
"""What a code is handed to."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_invalid_declaration_is_explained_word_for_word(path: Path) -> None:
    found = told(path.stem)
    shown = "\n".join([*as_text(found, lambda _: path.read_text()), ""])
    expected = path.with_suffix(".txt")
    if os.environ.get("REWRITE"):
        expected.write_text(shown)
    assert shown == expected.read_text()
    assert path.stem in {diagnostic.code for diagnostic in found}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_a_file_by_itself_is_told_a_whole_space_is_told_too(path: Path) -> None:
    name = "reconcile.yaml" if path.stem in IN_RECONCILE_YAML else path.name
    assert path.stem in {diagnostic.code for diagnostic in check({name: path.read_text(), "backup.sh": "exit 0\n"})}


def test_every_code_has_an_example() -> None:
    assert {path.stem for path in EXAMPLES} | set(MADE) == set(CODES)


@pytest.mark.parametrize("code", MADE)
def test_what_no_text_file_holds_is_explained_too(code: str) -> None:
    assert code in {diagnostic.code for diagnostic in told(code)}


def test_every_diagnostic_bears_a_known_code() -> None:
    texts = [path.with_suffix(".txt").read_text() for path in EXAMPLES]
    found = {code for text in texts for code in re.findall(r"^\S+: (?:error|warning)\[(.*?)\]", text, re.MULTILINE)}
    assert found == set(CODES) - set(MADE)


def emitted(path: Path) -> set[str]:
    """Return the words that a source hands to what makes diagnostics."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in EMITTERS:
            words = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            found |= {word for word in words if re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", word)}
    return found


def test_every_code_that_the_sources_emit_is_known() -> None:
    found = set().union(*(emitted(path) for path in SOURCES))
    assert found - {"text_source"} <= set(CODES)
    text = "".join(path.read_text() for path in SOURCES)
    assert [code for code in CODES if f'"{code}"' not in text] == []


def test_the_page_of_diagnostics_is_that_of_the_codes() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.declare.diagnostics_page`"


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_declaration_has_no_fault(path: Path) -> None:
    found = parse_file(path.name, path.read_bytes())
    assert found.diagnostics == ()
    assert found.foreign == 0
    assert found.declared


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_declaration_satisfies_its_schema(path: Path) -> None:
    known = schemas()
    source = Source(path.name, path.read_text())
    for chunk in chunks(source.text):
        root = Composer(source).compose(chunk).root
        if root is not None:
            document = jsonable(plain(root))
            for name in (document["kind"], "all"):
                jsonschema.Draft202012Validator(known[name]).validate(document)


def test_every_kind_has_a_valid_example() -> None:
    text = "\n".join(path.read_text() for path in VALID)
    assert set(re.findall(r"^kind: (\w+)", text, re.MULTILINE)) == set(KINDS)


def jsonable(value: object) -> object:
    match value:
        case tuple():
            return [jsonable(item) for item in value]
        case dict():
            return {key: jsonable(item) for key, item in value.items()}
    return value
