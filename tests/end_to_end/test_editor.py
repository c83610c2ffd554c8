"""The schemas in a real editor's engine: yaml-language-server over its standard input and output."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.declare.schema import write

pytestmark = pytest.mark.end_to_end

PARTS = Path(__file__).parent.parent.parent / "build" / "node"
SERVER = PARTS / "node_modules" / ".bin" / "yaml-language-server"

WORKER = """\
apiVersion: reconciler/v1
kind: Worker
metadata:
  name: w-1
spec:
  pools: [main]
  slots: many
  polcy: careful
  endpoint:
    listening: {host: 10.0.0.5, thumbprints: ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]}
"""
PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  variables:
    - {name: Version, value: 1.10}
  process:
    - name: Build
      script: {syntax: bash, body: make}
"""


class Editor:
    """A client of the language server that opens documents and waits for what it says of them."""

    def __init__(self, process: "subprocess.Popen[bytes]", schema: Path) -> None:
        self._process = process
        self._schema = schema
        self._number = 0

    def start(self) -> None:
        capabilities = {"workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": capabilities})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": {"yaml": self._settings()}})

    def open(self, uri: str, text: str) -> list[dict[str, Any]]:
        """Open a document and return what the server finds wrong with it."""
        self.tell(
            "textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}
        )
        while True:
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return list(message["params"]["diagnostics"])

    def ask(self, method: str, parameters: object) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if message.get("id") == self._number and "method" not in message:
                return message["result"]

    def tell(self, method: str, parameters: object) -> None:
        self._send({"method": method, "params": parameters})

    def _settings(self) -> dict[str, Any]:
        mapping = {self._schema.as_uri(): "*.yaml"}
        return {"validate": True, "hover": True, "schemas": mapping, "schemaStore": {"enable": False, "url": ""}}

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while (line := self._process.stdout.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if "id" in message and "method" in message:
            sections = message["params"].get("items", []) if message["method"] == "workspace/configuration" else []
            answers = [self._settings() if item["section"] == "yaml" else {} for item in sections]
            self._send({"id": message["id"], "result": answers or None})
        return message

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[Editor]:
    if not SERVER.exists():
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(PARTS)]
        subprocess.run([*install, "yaml-language-server@2.0.0"], check=True, timeout=100)
    schema = next(path for path in write(tmp_path / "schemas") if path.name == "all.json")
    with subprocess.Popen([SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            editor = Editor(process, schema)
            editor.start()
            yield editor
        finally:
            process.kill()


def marked(text: str, diagnostic: dict[str, Any]) -> str:
    place = diagnostic["range"]
    return text.splitlines()[place["start"]["line"]][place["start"]["character"] : place["end"]["character"]]


def test_an_editor_marks_the_field_that_is_wrong(editor: Editor) -> None:
    found = editor.open("file:///space/worker.yaml", WORKER)
    assert {marked(WORKER, diagnostic) for diagnostic in found} == {"many", "polcy"}


def test_an_editor_is_content_with_what_the_loader_takes(editor: Editor) -> None:
    assert editor.open("file:///space/project.yaml", PROJECT) == []


def test_an_editor_explains_a_field_on_hover(editor: Editor) -> None:
    uri = "file:///space/worker.yaml"
    editor.open(uri, WORKER)
    place = {"textDocument": {"uri": uri}, "position": {"line": 6, "character": 4}}
    assert "Attempts at a time" in json.dumps(editor.ask("textDocument/hover", place))
