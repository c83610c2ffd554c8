"""The invalid examples: one for each code, as files beside what they are told, or made here where no text file can be."""

from collections.abc import Mapping
from pathlib import Path

from reconciler.declare.codes import OF_FILES
from reconciler.declare.documents import parse_file
from reconciler.declare.load import emptied
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.spec import Address
from tests.declare.checking import check

INVALID = Path(__file__).parent.parent / "declarations" / "invalid"
EXAMPLES = sorted(INVALID.glob("*.yaml"))

IN_RECONCILE_YAML = {"bad-pattern", "bad-removals", "odd-name", "second-space"}
"""Examples that stand in the space's own file."""

STEP = "apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: shop}\nspec:\n  process:\n    - name: Build\n      "
MADE: Mapping[str, tuple[str, bytes]] = {
    "control-character": (
        "A NUL inside of a name.", b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: a\x00b}\n"
    ),
    "emptied-file": (
        "Of a file with a worker that is live, `apiVersion:` is left.", b"apiVersion:\n",
    ),
    "file-too-large": ("A file of 5 MB.", b"apiVersion: reconciler/v1\n" + b"#" * 5_000_000),
    "link": ("`backup.sh` is a symbolic link.", (STEP + "script: {syntax: bash, file: backup.sh}\n").encode()),
    "not-utf8": ("A byte that begins no letter.", b"apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: \xff}\n"),
    "too-long": (
        "A value of 200,000 letters.",
        (STEP + "script: {syntax: bash, body: exit 0}\n      env: {LIST: " + "x" * 200_000 + "}\n").encode(),
    ),
    "too-many-documents": ("A file of 10,001 documents.", b"---\napiVersion: reconciler/v1\n" * 10_001),
}  # fmt: skip
"""Examples that no text file should hold, in words and in bytes."""


def told(code: str) -> list[Diagnostic]:
    """Return what the example of a code is told: by itself where a file shows the fault, else as a whole space."""
    if code in MADE:
        data = MADE[code][1]
        name = f"{code}.yaml"
    else:
        data = (INVALID / f"{code}.yaml").read_bytes()
        name = "reconcile.yaml" if code in IN_RECONCILE_YAML else f"{code}.yaml"
    if code == "emptied-file":
        return [emptied(name, [Address("Worker", "web-1")])]
    if code in OF_FILES and code != "link":
        return list(parse_file(name, data).diagnostics)
    return check({name: data.decode(), "backup.sh": "exit 0\n"}, links={"backup.sh"} if code == "link" else ())
