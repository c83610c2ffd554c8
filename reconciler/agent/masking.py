"""Masking: secret values vanish from a stream of bytes, in every usual spelling, however it is cut into chunks.

Many searches for one needle beat one regular expression with alternatives by three to one in CPython, and `rfind`
beats `find` by half, where there is nothing to be found. Spellings that begin alike are looked for together.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

MASK = b"********"
SHORTEST = 4  # bytes; masking shorter values would eat the log
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, section 2.3
STEM_BYTES = 8  # a common beginning that is shorter would be found too often


def spellings(value: str) -> set[bytes]:
    """Return every byte string by which `value`, or a line of it, is to be found; none if it is too short."""
    lines = [line for line in value.splitlines() if line != value]
    found: set[bytes] = set()
    for text in [value, value.rstrip("\r\n"), *lines]:
        raw = text.encode("utf-8", "surrogateescape")
        if len(raw) >= SHORTEST:
            found |= {raw, *_percent(raw), *_json(text), *_base64(raw)}
    return {spelling for spelling in found if len(spelling) >= SHORTEST}


class Masker:
    """Replaces secret values in one stream; holds back only what may be the beginning of one."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._needles: tuple[bytes, ...] = ()
        self._stems: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
        self._short_prefixes: frozenset[bytes] = frozenset()
        self._held = b""
        self._covered = 0  # bytes at the start of `_held` that a mask already sent stands for
        self._added = list(values)  # not yet spelt out: most scripts print nothing

    def add(self, values: Iterable[str]) -> None:
        """Mask `values` too, in what was not given out yet."""
        self._added += values

    def _spell_out(self) -> None:
        needles = set(self._needles).union(*map(spellings, self._added))
        self._added.clear()
        self._needles = tuple(sorted(needles, key=len, reverse=True))
        self._stems = tuple(_stems(needles))
        self._short_prefixes = frozenset(needle[:length] for needle in needles for length in range(1, SHORTEST))

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be shown now that `chunk` came."""
        if self._added and chunk:
            self._spell_out()
        if not self._needles:
            return chunk
        data = self._held + chunk
        return self._shown(data, self._hold_from(data))

    def close(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        return self._shown(self._held, len(self._held))

    def _shown(self, data: bytes, end: int) -> bytes:
        """Return `data` up to `end` masked, and hold the rest."""
        shown: list[bytes] = []
        position, covered = 0, max(0, self._covered - end)
        for start, stop in self._spans(data):
            if start >= end:
                break
            shown.append(data[position:start])
            if not (start == 0 and self._covered):
                shown.append(MASK)
            position, covered = min(stop, end), max(0, stop - end)
        shown.append(data[position:end])
        self._held, self._covered = data[end:], covered
        return b"".join(shown)

    def _spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Find what is to be masked in `data`: disjoint spans in order, overlapping finds joined."""
        spans = [(0, self._covered)] if self._covered else []
        for stem, needles in self._stems:
            at = data.find(stem) if data.rfind(stem) >= 0 else -1
            while at >= 0:
                spans += [(at, at + len(needle)) for needle in needles if data.startswith(needle, at)]
                at = data.find(stem, at + 1)
        spans.sort()
        current: tuple[int, int] | None = None
        for start, stop in spans:
            if current is not None and start < current[1]:
                current = current[0], max(current[1], stop)
                continue
            if current is not None:
                yield current
            current = start, stop
        if current is not None:
            yield current

    def _hold_from(self, data: bytes) -> int:
        """Return where the longest end of `data` starts that may be the beginning of a secret."""
        hold = len(data)
        for length in range(1, SHORTEST):
            if length <= len(data) and data[-length:] in self._short_prefixes:
                hold = len(data) - length
        for needle in self._needles:
            at = data.find(needle[:SHORTEST], max(0, len(data) - len(needle) + 1))
            while 0 <= at < hold:
                if needle.startswith(data[at:]):
                    hold = at
                at = data.find(needle[:SHORTEST], at + 1)
        return hold


def _stems(needles: Iterable[bytes]) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    """Group needles by how they begin: each stem with the needles that begin with it."""
    stem, group = b"", list[bytes]()
    for needle in sorted(needles):
        common = _beginning(stem, needle)
        if group and (common in group or len(common) >= STEM_BYTES):
            stem = common
            group.append(needle)
            continue
        if group:
            yield stem, tuple(group)
        stem, group = needle, [needle]
    if group:
        yield stem, tuple(group)


def _beginning(one: bytes, other: bytes) -> bytes:
    """Return what both begin with."""
    length = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return one[:length]


def _percent(raw: bytes) -> set[bytes]:
    found = {_quoted(raw, safe) for safe in (UNRESERVED, UNRESERVED | frozenset(b"/"))}
    found |= {spelling.replace(b"%20", b"+") for spelling in found}
    return found | {_lower_percent(spelling) for spelling in found}


def _quoted(raw: bytes, safe: frozenset[int]) -> bytes:
    """Return `raw` percent-encoded; the module `urllib.parse` takes 400 kB of an agent that has nothing to mask."""
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in raw).encode("ascii")


def _lower_percent(spelling: bytes) -> bytes:
    head, *rest = spelling.split(b"%")
    return b"%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def _json(text: str) -> set[bytes]:
    escaped = json.dumps(text)[1:-1]
    literal = json.dumps(text, ensure_ascii=False)[1:-1]
    return {escaped.encode(), literal.encode("utf-8", "surrogateescape")}


def _base64(raw: bytes) -> set[bytes]:
    """Return what is the same in each Base64 text that holds `raw`, at the three ways it can be aligned."""
    found: set[bytes] = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw))
        for before in range(3):
            first = (before * 8 + 5) // 6
            end = (before + len(raw)) * 8 // 6
            found.add(encode(b"\0" * before + raw)[first:end])
    return found
