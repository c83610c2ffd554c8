"""The form of a backup: a tar of parts, and at its end a manifest that says of each its size and SHA-256."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import canonical_json, digest_of

MANIFEST = "manifest.json"
STATE = "state.db"
DUMP = "state.dump"
KEY = "key"
FORM = "1"
"""Rises when an older program could not restore a backup any more."""

PIECE_BYTES = 1 << 20
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


class Archive:
    """A backup that is being written to `out`, front to back; a pipe will do."""

    def __init__(self, out: BinaryIO, now: float) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `finish` closes it
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


def read_backup(path: Path, sink_of: Callable[[str], Sink] | None = None) -> Manifest:
    """Read a backup whole and compare each part with the manifest; give each part's pieces to its sink.

    Raises UsageMistake where it is no backup of ours or not whole, or a part is not what the manifest says.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _manifest(path, tar)
            _compare(path, manifest, tar, sink_of)
    except (tarfile.TarError, EOFError) as error:
        raise _broken(path, f"it cannot be read ({error})") from None
    return manifest


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    members = tar.getmembers()
    if not members or members[-1].name != MANIFEST:
        raise _broken(path, "its end is missing")
    if members[-1].size > MANIFEST_BYTES_MAX:
        raise _broken(path, "its manifest is not one of ours")
    file = tar.extractfile(members[-1])
    try:
        fields = json.loads(file.read() if file is not None else b"")
        hashed = fields.pop("hash")
        if fields.get("form") != FORM:
            raise UsageMistake(f"{path} was made by a newer reconciler", "restore it with that one")
        is_right = hashed == digest_of(canonical_json(fields)) and fields.pop("type") == "backup"
        del fields["form"]
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        manifest = Manifest(**{**fields, "absent": tuple(fields["absent"]), "parts": parts})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _broken(path, "its manifest is not one of ours") from None
    if not is_right or [part.name for part in parts] != [member.name for member in members[:-1]]:
        raise _broken(path, "its manifest is not the one that it was made with")
    return manifest


def _compare(path: Path, manifest: Manifest, tar: tarfile.TarFile, sink_of: Callable[[str], Sink] | None) -> None:
    for part, member in zip(manifest.parts, tar.getmembers(), strict=False):
        file = tar.extractfile(member) if member.isreg() and NAMES.fullmatch(part.name) else None
        if file is None or member.size != part.size:
            raise _broken(path, f"{part.name} is not what it was")
        digest, sink = hashlib.sha256(), sink_of(part.name) if sink_of is not None else None
        while data := file.read(PIECE_BYTES):
            digest.update(data)
            if sink is not None:
                sink(data)
        if digest.hexdigest() != part.sha256:
            raise _broken(path, f"{part.name} is not what it was")


def _broken(path: Path, why: str) -> UsageMistake:
    return UsageMistake(f"{path} is no whole backup: {why}", "nothing was restored; take another backup")
