"""What each example of a declaration must be told, word for word.

`tests/declarations/invalid/CODE.yaml` stands beside `CODE.txt`, what a person reads. To write the texts again after a
change of wording, run `REWRITE=1 pytest tests/declare/test_declarations.py` and read the difference.
"""

import os
import re
from pathlib import Path

import jsonschema
import pytest

from reconciler.declare.codes import FILE_CODES
from reconciler.declare.core_schema import plain
from reconciler.declare.documents import parse_file
from reconciler.declare.nodes import Source
from reconciler.declare.render import as_text
from reconciler.declare.schema import schemas
from reconciler.declare.yaml import Composer, chunks
from reconciler.model.kinds import KINDS

DECLARATIONS = Path(__file__).parent.parent / "declarations"
INVALID = sorted((DECLARATIONS / "invalid").glob("*.yaml"))
VALID = sorted((DECLARATIONS / "valid").glob("*.yaml"))
OF_THE_SPACE = {"bad-removals", "second-space"}
"""Examples that stand in the space's own file."""
IN_BYTES = {
    "control-character": b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: a\x00b}\n",
    "file-too-large": b"apiVersion: reconciler/v1\n" + b"#" * 5_000_000,
    "not-utf8": b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: \xff}\n",
    "too-many-documents": b"---\napiVersion: reconciler/v1\n" * 10_001,
}
"""Examples that no text file should hold."""
ELSEWHERE = {"link"}
"""Codes of a tree, not of a file's content; see test_load.py."""


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_declaration_is_explained_word_for_word(path: Path) -> None:
    data = path.read_bytes()
    found = parse_file("reconcile.yaml" if path.stem in OF_THE_SPACE else path.name, data)
    shown = "\n".join([*as_text(found.diagnostics, lambda _: data.decode()), ""])
    expected = path.with_suffix(".txt")
    if os.environ.get("REWRITE"):
        expected.write_text(shown)
    assert shown == expected.read_text()
    assert path.stem in {diagnostic.code for diagnostic in found.diagnostics}


def test_every_code_has_an_example() -> None:
    assert {path.stem for path in INVALID} | set(IN_BYTES) | ELSEWHERE == set(FILE_CODES)


@pytest.mark.parametrize("code", IN_BYTES)
def test_bytes_that_are_no_text_are_explained_too(code: str) -> None:
    found = parse_file("a.yaml", IN_BYTES[code])
    assert code in {diagnostic.code for diagnostic in found.diagnostics}


def test_every_diagnostic_bears_a_known_code() -> None:
    found = {line for path in INVALID for line in re.findall(r"error\[(.*?)\]", path.with_suffix(".txt").read_text())}
    assert found <= set(FILE_CODES)


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
