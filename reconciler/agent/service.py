"""Service messages: what a script tells us between the lines of its output.

One is `##reconcile[NONCE VERB KEY=VALUE …]` and the end of its line. Values are percent-encoded: bash can do that
itself, by substitution, where Base64 would start a program for each call. The nonce is the attempt's own, so that
output which merely quotes somebody cannot speak to us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

MESSAGE_BYTES_MAX = 256 << 10  # an output of 64 KiB whose every byte takes three, and its name

ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class ServiceMessage:
    """One call of a helper function."""

    verb: str
    values: dict[str, str]


Piece = Union[bytes, ServiceMessage]


class Splitter:
    """Takes the service messages out of one stream, however it is cut into chunks."""

    def __init__(self, nonce: str) -> None:
        self._marker = b"##reconcile[" + nonce.encode() + b" "
        self._held = b""
        self._after_message = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """Return text and messages in order; holds back only what may be a message's beginning."""
        data = self._held + chunk if self._held else chunk
        pieces: list[Piece] = []
        if self._after_message and data:
            data = self._without_line_end(data)
        while True:
            start = data.find(self._marker)
            if start < 0:
                end = len(data) - self._marker_begun(data)
                break
            end = start
            stop = data.find(b"]", start, start + MESSAGE_BYTES_MAX)
            if stop < 0 and len(data) - start < MESSAGE_BYTES_MAX:
                break
            if stop < 0:  # endless: shown as text, its nonce will be masked
                end = start + len(self._marker)
                pieces.append(data[:end])
                data = data[end:]
                continue
            pieces += [data[:start], _message(data[start + len(self._marker) : stop])]
            self._after_message = True
            data = self._without_line_end(data[stop + 1 :])
        pieces.append(data[:end])
        self._held = data[end:]
        return [piece for piece in pieces if piece != b""]

    def close(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return held

    def _without_line_end(self, data: bytes) -> bytes:
        if data in (b"", b"\r"):
            return data
        self._after_message = False
        for line_end in (b"\r\n", b"\n"):
            if data.startswith(line_end):
                return data[len(line_end) :]
        return data

    def _marker_begun(self, data: bytes) -> int:
        """Return how many bytes at the end of `data` may be the beginning of a marker."""
        if self._after_message and data == b"\r":
            return 1
        at = data.find(b"#", max(0, len(data) - len(self._marker) + 1))
        while at >= 0:
            if self._marker.startswith(data[at:]):
                return len(data) - at
            at = data.find(b"#", at + 1)
        return 0


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode("ascii"))


def _message(text: bytes) -> ServiceMessage:
    verb, *pairs = text.split(b" ")
    values = {}
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        values[key.decode("ascii", "replace")] = ESCAPED.sub(_unescaped, value).decode("utf-8", "surrogateescape")
    return ServiceMessage(verb.decode("ascii", "replace"), values)
