"""Give fields of a declared object other values in the file that people wrote: every other byte of it stays."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from reconciler.declare.nodes import LINE_END, MappingNode, Node, ScalarNode, SequenceNode, Source
from reconciler.declare.yaml import Composer, chunks
from reconciler.model.errors import ReconcilerError
from reconciler.model.spec import API_VERSION, Address

MARK = b"\xef\xbb\xbf"
"""The byte order mark, which some editors put before everything else."""

_BARE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+/-]*[A-Za-z0-9])?")
"""Texts that need no quotes, between brackets and braces either."""

_NOTHING = {"null", "Null", "NULL"}
_BLOCK_SCALAR = re.compile(r"(?:&\S+\s+)?[|>]")
_ANCHOR = re.compile(r"&\S+\s+")
_ALIAS = re.compile(r"\s*:\s+\*\S+")


@dataclass(frozen=True, slots=True)
class Assigned:
    """The text that a field gets.

    `path` leads to it below the spec; a number at its end is an item of a list, which is written already. Where the
    field is not written it means `default`, and it is put behind the first of the fields `behind` that stands on a line
    of its own.
    """

    path: tuple[str | int, ...]
    value: str
    default: str = ""
    behind: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {_scalar(self.value)}"

    @property
    def name(self) -> str:
        """The path as people write it."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).removeprefix(".")


class NotEditable(ReconcilerError):
    """A person has to make the change: what is written cannot be changed for this object alone."""

    def __init__(self, place: str, what: str, hint: str) -> None:
        super().__init__(f"{place}: {what}; nothing was changed", hint)


class _Found(NamedTuple):
    """The mapping of a file that holds the fields of an object, and the way to it."""

    chunk: int
    path: tuple[str | int, ...]
    node: MappingNode
    shared: MappingNode | None
    """The defaults of the set that a worker is an entry of."""


class _Splice(NamedTuple):
    """Put `text` in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


def edited(file: str, data: bytes, address: Address, assigned: Iterable[Assigned]) -> bytes:
    """Return the content of a file in which an object's fields have their new values.

    `data` is free of errors as far as the object goes. Raises NotEditable where the change cannot be made for this
    object alone, and at one place.
    """
    text = data.removeprefix(MARK).decode("utf-8")
    for one in assigned:
        text = _File(file, text).with_one(address, one)
    return (MARK if data.startswith(MARK) else b"") + text.encode("utf-8")


class _File:
    """The text of a file and what it says."""

    def __init__(self, file: str, text: str) -> None:
        self._source = Source(file, text)
        self._text = text
        composer = Composer(self._source)
        self._roots = [composer.compose(chunk).root for chunk in chunks(text)]

    @property
    def values(self) -> list[Any]:
        """What each document says, every scalar as its text."""
        return [None if root is None else _values(root) for root in self._roots]

    def with_one(self, address: Address, one: Assigned) -> str:
        """Return the text with one field changed; raises NotEditable."""
        if not one.value.isprintable():
            raise NotEditable(self._source.file, f"{one.name} is one line of printable text", "write it as one")
        found = next(self._found(address), None)
        if found is None:
            raise NotEditable(self._source.file, f"{address} is not declared here", "is the file as it was?")
        splice, wanted = self._change(found, address, one)
        text = self._text[: splice.start] + splice.text + self._text[splice.end :]
        if _File(self._source.file, text).values != wanted:
            raise NotEditable(
                self._place(found.node),
                f'"{one}" for {address} would change more than that',
                "what an anchor names is shared: write the value out for each, then run the command again",
            )
        return text

    def _found(self, address: Address) -> Iterator[_Found]:
        for index, root in enumerate(self._roots):
            if not isinstance(root, MappingNode) or _text(root.get("apiVersion")) != API_VERSION:
                continue
            kind, metadata = _text(root.get("kind")), root.get("metadata")
            if (
                kind == address.kind
                and isinstance(metadata, MappingNode)
                and _text(metadata.get("name")) == address.name
            ):
                yield self._at(index, ("spec",), address)
            elif kind == "WorkerSet" and address.kind == "Worker":
                number = _entry(root, address.name)
                if number is not None:
                    yield self._at(index, ("spec", "workers", number), address)

    def _at(self, index: int, path: tuple[str | int, ...], address: Address) -> _Found:
        """Walk to the mapping that holds an object's fields; raises NotEditable where an alias stands in the way."""
        node: Node | None = self._roots[index]
        shared: Node | None = None
        for element in path:
            before = node
            if isinstance(before, MappingNode):
                shared = before.get("defaults") or shared
            node = self._own(before, element, address)
        assert isinstance(node, MappingNode), "what is checked is a mapping here"
        return _Found(index, path, node, shared if isinstance(shared, MappingNode) else None)

    def _own(self, node: Node | None, element: str | int, address: Address) -> Node | None:
        """Return a part of a node that stands there itself."""
        if isinstance(node, SequenceNode):
            assert isinstance(element, int)
            part, earliest = node.items[element], max([node.start, *(item.end for item in node.items[:element])])
            if part.start < earliest:
                raise self._is_alias(node, "what is declared", address)
            return part
        key, value = node.entries[str(element)] if isinstance(node, MappingNode) else (None, None)
        if key is not None and value is not None and value.start < key.end:
            raise self._is_alias(key, f"the {element}", address)
        return value

    def _change(self, found: _Found, address: Address, one: Assigned) -> tuple[_Splice, list[Any]]:
        """Return the change to the text, and what the file says afterwards."""
        if isinstance(one.path[-1], int):
            return self._changed_item(found, address, one)
        node, missing = found.node, [str(name) for name in one.path]
        while len(missing) > 1 and node.get(missing[0]) is not None:
            part = self._own(node, missing[0], address)
            if not isinstance(part, MappingNode):
                raise self._is_odd(found.node, address, one)
            node, missing = part, missing[1:]
        wanted = self.values
        if len(missing) == 1 and node.get(missing[0]) is not None:
            former = self._own(node, missing[0], address)
            _set(wanted[found.chunk], (*found.path, *one.path), one.value)
            return self._replaced(former, address, one), wanted
        inherited = _inherited(found, one) if node is found.node else {}
        content: Any = one.value
        written = _scalar(one.value)
        for name in reversed(missing[1:]):
            content = {**inherited, name: content}
            others = [f"{key}: {_scalar(value)}" for key, value in inherited.items() if key != name]
            written = "{" + ", ".join([f"{name}: {written}", *others]) + "}"
        depth = len(one.path) - len(missing)
        _set(wanted[found.chunk], (*found.path, *one.path[: depth + 1]), content)
        splice = self._put_in(node, f"{missing[0]}: {written}", one.behind)
        if splice is None:
            raise self._is_odd(node, address, one)
        return splice, wanted

    def _changed_item(self, found: _Found, address: Address, one: Assigned) -> tuple[_Splice, list[Any]]:
        node: Node | None = found.node
        for part in one.path:
            items = node.items if isinstance(node, SequenceNode) else ()
            is_there = part < len(items) if isinstance(part, int) else isinstance(node, MappingNode)
            if not is_there:
                raise self._is_odd(node or found.node, address, one)
            node = self._own(node, part, address)
        wanted = self.values
        _set(wanted[found.chunk], (*found.path, *one.path), one.value)
        return self._replaced(node, address, one), wanted

    def _replaced(self, former: Node | None, address: Address, one: Assigned) -> _Splice:
        """Write the new value as the former one was: plain or in its quotes."""
        if not isinstance(former, ScalarNode):
            raise self._is_odd(former, address, one)
        written = self._text[former.start : former.end]
        if LINE_END.search(written) or _BLOCK_SCALAR.match(written):
            raise self._is_odd(former, address, one)
        anchor = _ANCHOR.match(written)
        start = former.start + (anchor.end() if anchor else 0)
        return _Splice(start, former.end, _scalar(one.value, "" if former.plain else self._text[start]))

    def _put_in(self, node: MappingNode, entry: str, behind: tuple[str, ...]) -> _Splice | None:
        """Add an entry to a mapping: in braces as the first one, in a block on a line of its own."""
        if node.flow:
            first = next((key.start for key, _ in node.entries.values()), None)
            return _Splice(node.end - 1, node.end - 1, entry) if first is None else _Splice(first, first, f"{entry}, ")
        preferred = [node.entries[name] for name in behind if name in node.entries]
        for key, value in (*preferred, *node.entries.values()):
            end = LINE_END.search(self._text, key.start)
            at = end.start() if end else len(self._text)
            if self._ends_before(key, value, at):
                return _Splice(at, at, self._break(end) + re.sub(r"\S", " ", self._before(key)) + entry)
        first_key = next(key for key, _ in node.entries.values())
        indent = self._before(first_key)
        if indent.strip():
            return None
        end = LINE_END.search(self._text, first_key.start)
        return _Splice(first_key.start, first_key.start, entry + self._break(end) + indent)

    def _ends_before(self, key: ScalarNode, value: Node, at: int) -> bool:
        """Say whether an entry of a block ends in the line in which it begins."""
        if value.start < key.end:
            return _ALIAS.match(self._text, key.end, at) is not None
        return value.end <= at and (isinstance(value, ScalarNode) or value.flow)

    def _before(self, key: ScalarNode) -> str:
        """Return what stands before a key in its line."""
        start = max(self._text.rfind("\n", 0, key.start), self._text.rfind("\r", 0, key.start)) + 1
        return self._text[start : key.start]

    def _break(self, end: re.Match[str] | None) -> str:
        """Return how a line ends here, else how the first one of the file does."""
        found = end or LINE_END.search(self._text)
        return found[0] if found else "\n"

    def _place(self, node: Node | None) -> str:
        span = self._source.node_span(node) if node is not None else None
        return self._source.file if span is None else f"{span.file}:{span.line}:{span.column}"

    def _is_alias(self, node: Node, what: str, address: Address) -> NotEditable:
        hint = "write it out in its place, then run the command again"
        return NotEditable(self._place(node), f"{what} of {address} is an alias of what stands elsewhere", hint)

    def _is_odd(self, node: Node | None, address: Address, one: Assigned) -> NotEditable:
        hint = f'write "{one}" by hand'
        return NotEditable(self._place(node), f"the {one.name} of {address} cannot be changed as this is written", hint)


def _entry(root: MappingNode, name: str) -> int | None:
    """Return which worker of a set has a name."""
    spec = root.get("spec")
    workers = spec.get("workers") if isinstance(spec, MappingNode) else None
    items = workers.items if isinstance(workers, SequenceNode) else ()
    return next(
        (
            number
            for number, item in enumerate(items)
            if isinstance(item, MappingNode) and _text(item.get("name")) == name
        ),
        None,
    )


def _inherited(found: _Found, one: Assigned) -> dict[str, str]:
    """Return what a block of the defaults says, which an entry's own block would hide."""
    block = found.shared.get(str(one.path[0])) if found.shared is not None and len(one.path) > 1 else None
    entries = block.entries.items() if isinstance(block, MappingNode) else ()
    return {name: value.text for name, (_, value) in entries if isinstance(value, ScalarNode)}


def _scalar(value: str, quote: str = "") -> str:
    """Write a text as YAML: with the quotes it had, else without any where that is possible."""
    if quote == "'":
        return "'" + value.replace("'", "''") + "'"
    if quote or value in _NOTHING or not _BARE.fullmatch(value):
        return json.dumps(value, ensure_ascii=False)
    return value


def _values(node: Node) -> Any:
    if isinstance(node, ScalarNode):
        return node.text
    if isinstance(node, MappingNode):
        return {name: _values(value) for name, (_, value) in node.entries.items()}
    return [_values(item) for item in node.items]


def _set(values: Any, path: tuple[str | int, ...], value: Any) -> None:
    for element in path[:-1]:
        values = values[element]
    values[path[-1]] = value


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, ScalarNode) else ""
