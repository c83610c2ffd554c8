"""A YAML document as a tree of nodes, and the text that they point into.

Nodes hold offsets, in code points, into the text of their file; `Source` turns them into lines and columns when
somebody asks. An aliased node is shared and points at its anchor, for there stands the text to mend.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from reconciler.model.diagnostics import Span

LINE_END = re.compile(r"\r\n|\n|\r")
"""What ends a line in YAML 1.2; U+0085, U+2028 and U+2029 do not."""

_PROPERTIES = re.compile(r"(?:[&!]\S*\s*)+")
_BLANK = " \t\r\n"


class ScalarNode(NamedTuple):
    """A text as written; only a `plain` one, without quotes, may stand for a number, a truth or nothing."""

    text: str
    plain: bool
    start: int
    end: int


class SequenceNode(NamedTuple):
    """A list."""

    items: tuple["Node", ...]
    start: int
    end: int
    flow: bool = False


class MappingNode(NamedTuple):
    """Keys, all different, each with its own node and its value, in their written order."""

    entries: Mapping[str, tuple[ScalarNode, "Node"]]
    start: int
    end: int
    flow: bool = False

    def get(self, name: str) -> "Node | None":
        """Return the value under `name`."""
        found = self.entries.get(name)
        return found[1] if found else None

    def key(self, name: str) -> ScalarNode | None:
        """Return the key called `name` itself."""
        found = self.entries.get(name)
        return found[0] if found else None


Node = ScalarNode | SequenceNode | MappingNode


class Piece(NamedTuple):
    """A part of a scalar's text, within a line of it: its letters, and how often they stand there before."""

    text: str
    before: int

    @classmethod
    def of(cls, text: str, offset: int, length: int) -> "Piece":
        """Return the part at an offset of a text, as far as its first line goes."""
        wanted = text[offset : offset + length].split("\n", 1)[0]
        return cls(wanted, text.count(wanted, 0, offset) if wanted else 0)


class Source:
    """The text of one file and the arithmetic of its lines."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in LINE_END.finditer(self.text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset, both from 1."""
        if offset == 0:
            return 1, 1
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        """Return the span from `start` to `end` without the white space at its end, at least one column wide."""
        end = min(end, len(self.text))
        while end > start and self.text[end - 1] in _BLANK:
            end -= 1
        line, column = self.place(start)
        end_line, end_column = self.place(end)
        if end <= start:
            end_line, end_column = line, column + 1
        return Span(self.file, line, column, end_line, end_column)

    def node_span(self, node: Node) -> Span:
        """Return the span of a node without its anchor and tag."""
        start = node.start
        if self.text[start : start + 1] in {"&", "!"} and (found := _PROPERTIES.match(self.text, start, node.end)):
            start = found.end() if found.end() < node.end else start
        return self.span(start, node.end)

    def piece_span(self, node: Node, piece: Piece) -> Span | None:
        """Return the span of a part of a scalar that is written over lines; None where it does not stand there as it reads."""
        if not piece.text or LINE_END.search(self.text, node.start, node.end) is None:
            return None
        end = node.start
        for _ in range(piece.before + 1):
            start = self.text.find(piece.text, end, node.end)
            if start < 0:
                return None
            end = start + len(piece.text)
        return self.span(end - len(piece.text), end)
