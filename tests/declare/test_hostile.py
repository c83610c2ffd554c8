"""Input that wants to crash, hang or fill the memory ends in a diagnostic, in a process that stays small."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.declare.documents import parse_file
from reconciler.declare.render import as_record, as_text

HEAD = b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: dba}\nspec:\n  members: "
MEMORY_MAX = 200  # megabytes of the whole process; of those some 60 are Python and the models

CHILD = """
import json, re, sys, time
from pathlib import Path
from reconciler.declare.load import load
from reconciler.declare.render import as_text
start = time.process_time()
loaded = load(Path(sys.argv[1]))
shown = sum(len(block) for block in as_text(loaded.diagnostics, loaded.read_source))
print(json.dumps({
    "codes": sorted({found.code for found in loaded.diagnostics}),
    "count": len(loaded.diagnostics),
    "foreign": loaded.foreign,
    "shown": shown,
    "megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024,
    "seconds": round(time.process_time() - start, 2),
}))
"""

ALIAS_BOMB = b"  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"  a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 30)
)
WIDE_BOMB = b"&x [" + b"x," * 100_000 + b"]\n  others: [" + b"*x," * 100_000 + b"]\n"

HOSTILE: dict[str, Callable[[], tuple[bytes, str]]] = {
    "an alias bomb": lambda: (HEAD + b"[]\n" + ALIAS_BOMB, "too-many-nodes"),
    "a wide alias bomb": lambda: (HEAD + WIDE_BOMB, "too-many-nodes"),
    "a hundred megabytes": lambda: (HEAD + b"[]\n" + b"# padding\n" * 10_500_000, "file-too-large"),
    "deep lists": lambda: (HEAD + b"[" * 200_000, "too-deep"),
    "deep mappings": lambda: (HEAD + b"{a: " * 200_000, "too-deep"),
    "deep block lists": lambda: (HEAD + b"\n    " + b"- " * 200_000, "too-deep"),
    "many small values": lambda: (HEAD + b"[" + b"a," * 2_000_000 + b"]\n", "too-many-nodes"),
    "many documents": lambda: (b"---\napiVersion: reconciler/v1\n" * 130_000, "too-many-documents"),
    "a NUL": lambda: (HEAD + b"[a\0b]\n", "control-character"),
    "a NUL that is escaped": lambda: (HEAD + b'["a\\0b"]\n', "control-character"),
    "a NUL as two bytes": lambda: (HEAD + b'["a\\u0000b"]\n', "control-character"),
    "a key with a NUL": lambda: (HEAD + b'[{"\\x00": b}]\n', "control-character"),
    "UTF-16": lambda: ((HEAD + b"[a]\n").decode().encode("utf-16"), "not-utf8"),
    "invalid UTF-8": lambda: (HEAD + b"[\xc3\x28]\n", "not-utf8"),
    "a long number": lambda: (b"apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: a}\nspec: {sortOrder: "
                      + b"9" * 3_000_000 + b"}\n", "wrong-type"),
    "a long line": lambda: (HEAD + b"[" + b"'" + b"a" * 4_000_000, "syntax"),
    "ten thousand unknown keys": lambda: (b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: a}\nspec:\n  members: []\n"
                                  + b"".join(b"  membrs%d: x\n" % n for n in range(10_000)), "unknown-key"),
    "ten thousand broken documents": lambda: (b"".join(
        b"---\napiVersion: reconciler/v1\nkind: Worker\nmetadata: {name: W}\n" for _ in range(9_999)), "bad-name"),
    "thousands of faulty workers in a set": lambda: (
        b"apiVersion: reconciler/v1\nkind: WorkerSet\nmetadata: {name: s}\nspec:\n  workers:\n" + b"".join(
            b"    - {name: w-%d, slots: -1, pools: [p], endpoint: {ssh: {host: h, account: a, hostKey: k}}}\n" % n
            for n in range(4_000)), "bad-value"),
    "thousands of faulty steps and variables": lambda: (
        b"apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: p}\nspec:\n  variables:\n" + b"".join(
            b"    - {name: V%d, typ: x, value: '${{ vars.V%d }}'}\n" % (n, n + 1) for n in range(3_000))
        + b"  process:\n" + b"".join(
            b"    - {name: S%d, tags: 1, script: {syntax: bsh, body: '${{ vars.X%d }}'}}\n" % (n, n)
            for n in range(2_000)), "unknown-name"),
    "many duplicate keys": lambda: (HEAD + b"[]\n" + b"  members: []\n" * 50_000, "duplicate-key"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_input_ends_in_a_diagnostic(what: str, tmp_path: Path) -> None:
    data, code = HOSTILE[what]()
    (tmp_path / "hostile.yaml").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert code in found["codes"]
    assert found["megabytes"] < MEMORY_MAX


def test_ten_thousand_errors_are_all_told() -> None:
    data, _ = HOSTILE["ten thousand unknown keys"]()
    found = parse_file("a.yaml", data)
    assert len(found.diagnostics) == 10_000
    text = data.decode()
    assert len(list(as_text(found.diagnostics, lambda _: text))) == 10_000


def test_a_nul_is_refused_as_an_escape_too() -> None:
    (found,) = parse_file("a.yaml", HEAD + b'["\\0", "\\\\0", \'\\0\']\n').diagnostics
    assert found.message == "the control character U+0000 cannot stand in a text, not as an escape either"
    assert (found.span.line, found.span.column) == (5, 13)
    (raw,) = parse_file("a.yaml", HEAD + b"[a\0b]\n").diagnostics
    assert raw.help == "delete it"
    (other,) = parse_file("a.yaml", HEAD + b"[a\x07b]\n").diagnostics
    assert other.help == 'delete it, or write it as an escape in double quotes ("\\u0007")'
    assert parse_file("a.yaml", HEAD + b'["a\\u0007b"]\n').diagnostics == ()


def test_a_foreign_file_of_any_size_is_skipped() -> None:
    found = parse_file("crds.yaml", b"apiVersion: v1\nkind: ConfigMap\n" + b"# padding\n" * 500_000)
    assert (found.diagnostics, found.foreign) == ((), 1)


@given(data=st.binary(max_size=200))
def test_no_bytes_at_all_raise(data: bytes) -> None:
    parse_file("a.yaml", data, known_to_live=True)


PIECES = [
    "apiVersion: reconciler/v1\n", "apiVersion: v1\n", "kind: Worker\n", "kind: Project\n", "kind: Space\n",
    "metadata: {name: a}\n", "spec:\n", "  pools: [a]\n", "  process:\n", "    - name: x\n", "      script: {}\n",
    "---\n", "...\n", "%YAML 1.2\n", "&a ", "*a", "!t ", "- ", "? ", ": ", "{", "}", "[", "]", ",", "'", '"', "|\n", ">\n",
    "\t", "\r\n", "\r", "\u2028", "\x85", "\ufeff", "é", "日", "\U0001f600", "#", "<<: ", "null", "1.10", "~", " ", "\n",
]  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=40))
def test_no_heap_of_yaml_raises_and_every_place_is_inside_of_the_file(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = parse_file("a.yaml", text.encode(), known_to_live=True)
    for diagnostic in found.diagnostics:
        span = diagnostic.span
        assert 1 <= span.line <= span.end_line
        assert (span.line, span.column) < (span.end_line, span.end_column)
        json.dumps(as_record(diagnostic))
    assert len(list(as_text(found.diagnostics, lambda _: text))) == len(found.diagnostics)
