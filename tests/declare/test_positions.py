"""Lines and columns are right wherever a field may stand."""

from pathlib import Path

import pytest

from reconciler.declare.documents import locate, parse_file
from reconciler.declare.load import load
from reconciler.model.diagnostics import Span
from reconciler.model.spec import Address

HEAD = "apiVersion: reconciler/v1\nkind: Team\n"


def marked(text: str, span: Span) -> str:
    """Return what a span covers, cut by lines and columns as an editor does."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if span.line == span.end_line:
        return lines[span.line - 1][span.column - 1 : span.end_column - 1]
    return "\n".join([lines[span.line - 1][span.column - 1 :], *lines[span.line : span.end_line]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "metadata:\n  name: dba\nspec:\n  members: 5\n", "5"),
        (HEAD + "metadata: {name: dba}\nspec: {members: 5}\n", "5"),
        (HEAD + "metadata: {name: dba, displayName: 日本語 ünï 😀}\nspec: {description: ä, members: [b]}\n", "description"),
        (HEAD.replace("\n", "\r\n") + "metadata: {name: dba}\r\nspec:\r\n  members: 5\r\n", "5"),
        (HEAD.replace("\n", "\r") + "metadata: {name: dba}\rspec:\r  members: 5\r", "5"),
        ("\ufeff" + HEAD + "metadata: {name: dba}\nspec: {members: 5}\n", "5"),
        ("# a\u2028b\u2029c\x85d\n" + HEAD + "metadata: {name: dba}\nspec: {members: 5}\n", "5"),
        (HEAD + "metadata: {name: dba, displayName: 'a\x85b\u2028c'}\nspec: {members: 5}\n", "5"),
        (HEAD + "metadata: {name: dba}\nspec:\n  members: &people 5\n", "5"),
        (HEAD + "metadata: {name: dba, annotations: {a: &n '5'}}\nspec:\n  members: *n\n", "'5'"),
        (HEAD + "metadata: {name: dba}\nspec:\n  members: |\n    one\n    two\n\n# end\n", "|\n    one\n    two"),
        ("---\n# nothing\n---\n" + HEAD + "metadata: {name: dba}\nspec: {members: [a]}\n---\n\n"
         + HEAD + "metadata: {name: ops}\nspec: {members: 5}\n", "5"),
        ("%YAML 1.2\n---\n" + HEAD + "metadata: {name: dba}\nspec: {members: 5}\n...\n", "5"),
        (HEAD + "metadata: {name: dba}\nspec: {members: 5} # at the end of the file", "5"),
        (HEAD + 'metadata: {name: dba}\nspec:\n  "members": "5"\n', '"5"'),
    ],
)  # fmt: skip
def test_a_fault_is_marked_exactly(text: str, expected: str) -> None:
    (found,) = {diagnostic.span: diagnostic for diagnostic in parse_file("a.yaml", text.encode()).diagnostics}.keys()
    assert marked(text.removeprefix("\ufeff"), found) == expected


def test_a_later_fault_finds_its_field_in_a_document() -> None:
    text = "---\n" + HEAD + "metadata: {name: ops}\nspec: {members: [a, b]}\n"
    (declared,) = parse_file("a.yaml", text.encode()).declared
    assert marked(text, locate("a.yaml", text.encode(), declared, ("members", 1))) == "b"
    assert marked(text, locate("a.yaml", text.encode(), declared, ("spec", "members", 1))) == "b"
    assert marked(text, locate("a.yaml", text.encode(), declared, ("metadata", "name"))) == "ops"
    assert marked(text, locate("a.yaml", text.encode(), declared, ("members",), key=True)) == "members"


def test_a_field_that_is_not_written_is_found_at_what_stands_around_it() -> None:
    text = "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: production}\n"
    (declared,) = parse_file("a.yaml", text.encode()).declared
    assert marked(text, locate("a.yaml", text.encode(), declared, ("sortOrder",))) == "Environment"


WORKER_SET = """\
apiVersion: reconciler/v1
kind: WorkerSet
metadata: {name: omaha}
spec:
  defaults: {pools: [main], policy: shared}
  workers:
    - {name: w-1, endpoint: {polling: {subscription: "poll://one", thumbprints: ["%s"]}}}
    - name: w-2
      policy: own
      endpoint: {polling: {subscription: "poll://two", thumbprints: ["%s"]}}
""".replace("%s", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")


def test_a_worker_of_a_set_finds_its_fields_in_its_entry_or_in_the_defaults() -> None:
    data = WORKER_SET.encode()
    first, second = parse_file("a.yaml", data).declared
    assert first.address == Address("Worker", "w-1")
    assert (first.position.line, second.position.line) == (7, 8)
    assert marked(WORKER_SET, locate("a.yaml", data, first, ("spec", "policy"))) == "shared"
    assert marked(WORKER_SET, locate("a.yaml", data, second, ("spec", "policy"))) == "own"
    assert marked(WORKER_SET, locate("a.yaml", data, second, ("metadata", "name"))) == "w-2"
    assert marked(WORKER_SET, locate("a.yaml", data, second, ("spec", "workers", 1, "name"))) == "w-2"
    assert marked(WORKER_SET, locate("a.yaml", data, first, ("spec", "slots"))) == "w-1"


def test_a_reference_inside_of_an_action_is_found() -> None:
    text = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - name: Roll out
      group:
        targetTags: [web]
        steps:
          - name: Restart
            location: on-targets
            script: {syntax: bash, body: exit 0}
"""
    (declared,) = parse_file("a.yaml", text.encode()).declared
    (use,) = [use for use in declared.references if use.target.kind == "ExecutionLocation"]
    assert use.path == ("process", 0, "group", "steps", 0, "location")
    assert marked(text, locate("a.yaml", text.encode(), declared, ("spec", *use.path))) == "on-targets"


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("|\n          vars.Nope\n          ${{ vars.Nope }}\n", 10, 15),
        (">-\n          one\n\n          two ${{ vars.Nope }}\n", 11, 19),
        ("|\n          ${{ vars.Nope | default(\n            '') }} ${{ vars.Nope }}\n", 10, 24),
        ("one\n          ${{ vars.Nope }}\n", 9, 15),
        ("${{ vars.Nope }}\n", 8, 12),
        ('"a\\x2fvars.Nope\\\n          ${{ vars.Nope }}"\n', 9, 15),
        ('"one\n          ${{ vars\\x2eNope }}"\n', 8, 12),
    ],
    ids=["literal", "folded", "the second of them", "plain", "one line", "quoted", "written otherwise"],
)
def test_a_name_in_a_text_of_many_lines_is_marked_where_it_stands(
    tmp_path: Path, written: str, line: int, column: int
) -> None:
    head = "apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: shop}\nspec:\n  process:\n"
    step = "    - name: Work\n      env:\n        A: " + written + "      script: {syntax: sh, body: true}\n"
    (tmp_path / "a.yaml").write_text(head + step)
    (found,) = load(tmp_path).diagnostics
    assert (found.code, found.span.line, found.span.column) == ("unknown-name", line, column)


def test_an_expression_that_a_shell_may_take_for_code_is_marked_in_its_script(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: shop}\nspec:\n  process:\n    - name: Work\n"
        "      script:\n        syntax: sh\n        body: |\n          true\n          echo ${{ release }}\n"
    )
    (found,) = load(tmp_path).diagnostics
    assert (found.code, found.span.line, found.span.column) == ("unquoted-value", 11, 16)
