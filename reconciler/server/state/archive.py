"""The form of a backup: a tar of parts, and at its end a manifest that says of each its size and SHA-256."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import canonical_json, digest_of

MANIFEST = "manifest.json"
STATE = "state.db"
DUMP = "state.dump"
KEY = "key"
FORM = "1"
"""Rises when an older program could not restore a backup any more."""

PIECE_BYTES = 1 << 20
TAR_BYTES = 1 << 18
"""Read at once of what is read as it comes."""

MANIFEST_BYTES_MAX = 1 << 30  # some five million files
NAMES = re.compile(
    r"state\.db|state\.dump|key|logs/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.journal|blobs/([0-9a-f]{2})/\1[0-9a-f]{62}"
)
"""What a part may be called: nothing else is ever written by a restore."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a backup."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: the moment and space, the schema, how much of what, and each part.

    `key` is the fingerprint of the key that opens the sealed values, "" where none is sealed; `absent` are sentences
    about files that the database names and that were not there.
    """

    made_at: float
    space: str
    schema: int
    key: str
    counts: Mapping[str, int]
    absent: tuple[str, ...] = ()
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def has(self, name: str) -> bool:
        """Say whether a part is there."""
        return any(part.name == name for part in self.parts)


class _Hashed:
    """A file that is read once, up to `size` bytes, and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


class NotWhole(UsageMistake):
    """Something is no backup, or not all of one."""


class _Once:
    """Where a backup is written to; once that has failed, what the tar still has is dropped, and nobody told again."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._failed = False

    def write(self, data: bytes) -> int:
        if not self._failed:
            self._failed = True  # unless it comes back
            self._out.write(data)
            self._failed = False
        return len(data)


class Archive:
    """A backup that is being written to `out`, front to back; a pipe will do."""

    def __init__(self, out: BinaryIO, now: float) -> None:
        self._tar = tarfile.open(fileobj=cast("BinaryIO", _Once(out)), mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `finish` closes it
        self._now = now
        self.parts: list[Part] = []

    def add(self, name: str, file: BinaryIO, size: int) -> Part:
        """Add the first `size` bytes of a file; raises OSError where it has fewer."""
        assert NAMES.fullmatch(name), f"{name} is no part of a backup"
        hashed = _Hashed(file)
        self._tar.addfile(self._info(name, size), hashed)
        part = Part(name, size, hashed.digest.hexdigest())
        self.parts.append(part)
        return part

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: without it nothing is a backup."""
        fields = {"form": FORM, "type": "backup", **asdict(manifest)}
        text = canonical_json({**fields, "hash": digest_of(canonical_json(fields))}).encode() + b"\n"
        self._tar.addfile(self._info(MANIFEST, len(text)), io.BytesIO(text))
        self._tar.close()

    def _info(self, name: str, size: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(self._now)
        return info


Sink = Callable[[bytes], object]
"""Takes the pieces of a part."""


class SupportsRead(Protocol):
    """What a backup is read of."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, `size` at most; none at its end."""


def read_backup(path: Path, sink_of: Callable[[str], Sink] | None = None) -> Manifest:
    """Read a backup whole and compare each part with the manifest; give each part's pieces to its sink.

    Raises NotWhole where it is no backup or a part is not what the manifest says, UsageMistake for one of a newer form.
    """
    with path.open("rb") as file:
        return read_stream(file, str(path), sink_of)


def read_stream(file: SupportsRead, name: str, sink_of: Callable[[str], Sink] | None = None) -> Manifest:
    """Read a backup front to back as it comes, as `read_backup` does; `name` is what refusals call it."""
    found: list[Part] = []
    text: bytes | None = None
    try:
        with tarfile.open(fileobj=cast("BinaryIO", file), mode="r|", bufsize=TAR_BYTES) as tar:
            for member in tar:
                if text is not None:
                    raise _broken(name, "something comes after its manifest")
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise _broken(name, f"{member.name} is not what it was")
                if member.name == MANIFEST:
                    text = content.read(MANIFEST_BYTES_MAX)
                else:
                    found.append(_read_part(name, member, content, sink_of))
    except (tarfile.TarError, EOFError) as error:
        raise _broken(name, f"it cannot be read ({error})") from None
    if text is None:
        raise _broken(name, "its end is missing")
    return _compared(name, _manifest(name, text), found)


def _read_part(name: str, member: tarfile.TarInfo, content: IO[bytes], sink_of: Callable[[str], Sink] | None) -> Part:
    if not NAMES.fullmatch(member.name):
        raise _broken(name, f"{member.name} is no part of one")
    digest, sink = hashlib.sha256(), sink_of(member.name) if sink_of is not None else None
    while data := content.read(PIECE_BYTES):
        digest.update(data)
        if sink is not None:
            sink(data)
    return Part(member.name, member.size, digest.hexdigest())


def _manifest(name: str, text: bytes) -> Manifest:
    try:
        fields = json.loads(text)
        hashed = fields.pop("hash")
        if fields.get("form") != FORM:
            raise UsageMistake(f"{name} was made by a newer reconciler", "restore it with that one")
        is_right = hashed == digest_of(canonical_json(fields)) and fields.pop("type") == "backup"
        del fields["form"]
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        manifest = Manifest(**{**fields, "absent": tuple(fields["absent"]), "parts": parts})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _broken(name, "its manifest is not one of ours") from None
    if not is_right:
        raise _broken(name, "its manifest is not the one that it was made with")
    return manifest


def _compared(name: str, manifest: Manifest, found: list[Part]) -> Manifest:
    for promised, part in zip_longest(manifest.parts, found):
        if promised != part:
            raise _broken(name, f"{(promised or part).name} is not what it was")
    return manifest


def _broken(name: str, why: str) -> NotWhole:
    return NotWhole(f"{name} is no whole backup: {why}", "nothing was restored; take another backup")
