"""What files held when they were last parsed, by the name of their content; deletable at any time."""

import json
import os
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zlib import crc32

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
        """Open the cache in `folder`; None, or a file that is missing, corrupt or another version's, is empty."""
        if folder is None:
            return cls(None, {})
        file = folder / "declarations"
        with suppress(OSError, ValueError, RecursionError):
            if file.stat().st_size <= BYTES_MAX:
                head, _, body = file.read_bytes().partition(b"\n")
                if head == _head(body):
                    return cls(file, json.loads(body))
        return cls(file, {})

    def get(self, path: str, blob: str) -> Known | None:
        """Return what the file at `path` declares where its content is known by `blob`."""
        row = self._rows.get(path)
        if row is None or row[0] != blob:
            return None
        self._kept[path] = row
        return tuple([_declared(path, item) for item in row[2]]), row[1]

    def put(self, path: str, blob: str, declared: tuple[Declared, ...], foreign: int) -> None:
        """Remember what a file declares."""
        self._kept[path] = [blob, foreign, [_row(item) for item in declared]]
        self._changed = True

    def save(self) -> None:
        """Write the cache in one step; a disk that refuses it costs time later and nothing else."""
        if self._file is None or not (self._changed or self._kept.keys() != self._rows.keys()):
            return
        body = json.dumps(self._kept, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._file.parent, prefix=".declarations-", delete=False) as new:
                try:
                    new.write(_head(body) + b"\n" + body)
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


def _head(body: bytes) -> bytes:
    """Return the first line of the file: what the rows depend on, and a checksum of them."""
    return f"{_version()} {crc32(body):08x}".encode()


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
