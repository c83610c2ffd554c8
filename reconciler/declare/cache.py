"""What files held when they were last parsed, by the name of their content; deletable at any time."""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pydantic_core import from_json, to_json

from reconciler.model.desired import Declared
from reconciler.model.spec import Address, Position, Reference

if TYPE_CHECKING:
    from reconciler.declare.previous import Previous

FORMAT = 2  # raised when a row below changes its meaning
BYTES_MAX = 512 * 2**20  # of the cache file; a larger one is no cache of ours
WORN_MAX = 1.25  # rows written for each one that counts: past that the file is written anew

Row = list[Any]
"""A file as JSON: the name of its content, how many of its documents are foreign, and its objects."""

Known = tuple[tuple[Declared, ...], int]
"""What a file declares, and how many of its documents are foreign."""


class ParseCache:
    """Files without errors by path and content: what was used or added in this run is kept, the rest goes.

    The cache file is one line of rows, and one more for each later run that read few files anew; later rows win.
    """

    def __init__(self, file: Path | None, lines: Iterable[bytes] = ()) -> None:
        self._file = file
        self._rows: dict[str, Row] = {}
        self._kept: dict[str, Row] = {}
        self._added: dict[str, Row] = {}
        self._found: dict[str, tuple[str, Known]] = {}  # rows as objects, for whoever loads again and again
        self.previous: Previous | None = None
        """What was loaded last with this cache, where another commit can be loaded by what it differs in."""
        self._written = 0  # rows in the file, or none where it cannot be added to
        for line in lines:
            rows = unpacked(line)
            if rows is None:
                self._written = 0
                break
            self._rows |= rows
            self._written += len(rows)

    @classmethod
    def open(cls, folder: Path | None) -> "ParseCache":
        """Open the cache in `folder`; None, or a file that is missing, corrupt or another version's, is empty."""
        if folder is None:
            return cls(None)
        file = folder / "declarations"
        with suppress(OSError):
            if file.stat().st_size <= BYTES_MAX:
                return cls(file, file.read_bytes().split(b"\n")[:-1])
        return cls(file)

    def learn(self, rows: Mapping[str, Row]) -> None:
        """Take in rows by path that another process made."""
        self._rows |= rows
        self._added |= rows

    def get(self, path: str, blob: str) -> Known | None:
        """Return what the file at `path` declares where its content is known by `blob`."""
        row = self._rows.get(path)
        if row is None or row[0] != blob:
            return None
        self._kept[path] = row
        found = self._found.get(path)
        if found is None or found[0] != blob:
            found = self._found[path] = blob, (tuple([_declared(path, item) for item in row[2]]), row[1])
        return found[1]

    def keep(self, but: Collection[str]) -> None:
        """Take all that is known for used in this run, but for some paths."""
        self._kept |= self._rows
        for path in but:
            self._kept.pop(path, None)

    def put(self, path: str, blob: str, declared: tuple[Declared, ...], foreign: int) -> None:
        """Remember what a file declares."""
        self._kept[path] = self._added[path] = row_of(blob, declared, foreign)

    def save(self) -> None:
        """Write what is new, and begin anew; a disk that refuses it costs time later and nothing else."""
        gone = self._rows.keys() - self._kept.keys()
        if self._file is not None and (self._added or gone):
            with suppress(OSError):
                self._write(self._file, is_whole=bool(gone))
        self._rows, self._kept, self._added = self._kept, {}, {}
        for path in gone:
            self._found.pop(path, None)

    def _write(self, file: Path, *, is_whole: bool) -> None:
        if self._written and not is_whole and self._written + len(self._added) <= len(self._kept) * WORN_MAX:
            with file.open("ab", buffering=0) as known:
                known.write(packed(self._added))
            self._written += len(self._added)
        else:
            _write_whole(file, packed(self._kept))
            self._written = len(self._kept)


def _write_whole(file: Path, data: bytes) -> None:
    """Put `data` in the place of a file in one step."""
    from tempfile import NamedTemporaryFile  # here, for it takes 3 ms to import and most runs write little

    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, prefix=".declarations-", delete=False) as new:
        try:
            new.write(data)
            new.close()
            os.replace(new.name, file)
        except OSError:
            os.unlink(new.name)
            raise


def packed(rows: Mapping[str, Row]) -> bytes:
    """Return rows by path as a line that only this very version of us understands."""
    body = to_json(rows)
    return b"%b %b\n" % (_head(body), body)


def unpacked(line: bytes) -> dict[str, Row] | None:
    """Return the rows of a line; None where it is corrupt or another version's."""
    head, _, body = line.rstrip(b"\n").partition(b" ")
    with suppress(ValueError):
        if head == _head(body):
            rows: dict[str, Row] = from_json(body, cache_strings="none")
            return rows
    return None


def row_of(blob: str, declared: Iterable[Declared], foreign: int) -> Row:
    """Return what a file declares as its row."""
    return [blob, foreign, [_item(item) for item in declared]]


def _item(item: Declared) -> list[Any]:
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
    """Return what a line begins with: what its rows depend on, and a checksum of them."""
    return f"{_version()}-{crc32(body):08x}".encode()


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
