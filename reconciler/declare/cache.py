"""What files held when they were last parsed, by the name of their content; deletable at any time."""

import json
import os
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from reconciler.model.desired import Declared
from reconciler.model.spec import Address, Position, Reference

FORMAT = 1  # raised when a row below changes its meaning
BYTES_MAX = 512 * 2**20  # of the cache file; a larger one is no cache of ours

Known = tuple[tuple[Declared, ...], int]
"""What a file declares, and how many of its documents are foreign."""


class ParseCache:
    """Files without errors by path and content: what was used or added in this run is kept, the rest goes."""

    def __init__(self, file: Path | None, rows: dict[str, Any]) -> None:
        self._file = file
        self._rows = rows
        self._kept: dict[str, Any] = {}
        self._changed = False

    @classmethod
    def open(cls, folder: Path | None) -> "ParseCache":
        """Open the cache in `folder`; None, a missing, foreign or corrupt file is an empty cache."""
        if folder is None:
            return cls(None, {})
        file = folder / "declarations.json"
        with suppress(OSError, ValueError, RecursionError):
            if file.stat().st_size <= BYTES_MAX:
                content = json.loads(file.read_bytes())
                if isinstance(content, dict) and content.get("version") == _version():
                    rows = content.get("files")
                    return cls(file, rows if isinstance(rows, dict) else {})
        return cls(file, {})

    def get(self, path: str, blob: str) -> Known | None:
        """Return what the file at `path` declares where its content is known by `blob`."""
        row = self._rows.get(path)
        if not isinstance(row, list) or row[:1] != [blob]:
            return None
        try:
            known = tuple(_declared(path, item) for item in row[2]), int(row[1])
        except (IndexError, KeyError, TypeError, ValueError):
            return None
        self._kept[path] = row
        return known

    def put(self, path: str, blob: str, declared: tuple[Declared, ...], foreign: int) -> None:
        """Remember what a file declares."""
        self._kept[path] = [blob, foreign, [_row(item) for item in declared]]
        self._changed = True

    def save(self) -> None:
        """Write the cache in one step; a disk that refuses it costs time later and nothing else."""
        if self._file is None or not (self._changed or self._kept.keys() != self._rows.keys()):
            return
        text = json.dumps({"version": _version(), "files": self._kept}, separators=(",", ":"), ensure_ascii=False)
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._file.parent, prefix=".declarations-", delete=False) as new:
                try:
                    new.write(text.encode("utf-8", "surrogateescape"))
                    new.close()
                    os.replace(new.name, self._file)
                except OSError:
                    os.unlink(new.name)
                    raise


def _row(item: Declared) -> list[Any]:
    return [
        item.address.kind, item.address.name, item.spec, item.metadata, item.digest,
        item.position.line, item.position.column, item.document, item.item,
        [[list(use.path), use.target.kind, use.target.name] for use in item.references],
        item.protect, item.renamed_from,
    ]  # fmt: skip


def _declared(path: str, row: list[Any]) -> Declared:
    kind, name, spec, metadata, digest, line, column, document, item, uses, protect, renamed_from = row
    references = tuple([Reference(tuple(field), Address(target, other)) for field, target, other in uses])
    position = Position(path, line, column)
    return Declared(
        Address(kind, name), spec, metadata, digest, position, document, item, references, protect, renamed_from
    )


@cache
def _version() -> str:
    """Return what the rows depend on: their format, and the sources of all that parses and models."""
    whole = sha256(str(FORMAT).encode())
    package = Path(__file__).parent.parent
    for folder in ("declare", "model", "steps"):
        for source in sorted((package / folder).glob("*.py")):
            facts = source.stat()
            whole.update(f"{source.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return whole.hexdigest()
