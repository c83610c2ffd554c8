"""YAML text to nodes: libyaml's events, counted against limits, and the scalars of the YAML 1.2 core schema."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from _ruamel_yaml import (  # type: ignore[import-not-found]  # written in C, without stubs
    AliasEvent,
    CParser,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from reconciler.declare.nodes import MappingNode, Node, ScalarNode, SequenceNode, Source
from reconciler.model.diagnostics import Diagnostic, Related, Severity

DEPTH_MAX = 100  # people nest to 20; far below what any recursion over the tree can bear
NODES_MAX = 300_000  # nodes of a file with every alias written out: 10,000 workers, read in a second and 100 MB
DOCUMENTS_MAX = 10_000  # documents of a file: as many as a large space holds in all

_MARKER = re.compile(r"(?:\A|(?<=\n)|(?<=\r))(?:%[^\r\n]*(?:\r\n|\n|\r))*---(?=[ \t\r\n]|\Z)")
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FALSE_BREAKS = re.compile(r"[\x85\u2028\u2029]")
_NUL = re.compile(r"\\(?:0|x00|u0000|U00000000)")
"""An escape that may stand for U+0000."""


class Chunk(NamedTuple):
    """What stands between two `---` lines of a file: offsets into its text."""

    start: int
    end: int


class Composed(NamedTuple):
    """A chunk as a tree: None when it is empty or, `readable` false, does not parse."""

    root: Node | None
    problems: tuple[Diagnostic, ...] = ()
    readable: bool = True


class _Unreadable(Exception):
    """The chunk ends here: `diagnostic` says why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def chunks(text: str) -> list[Chunk]:
    """Split a file at its document markers, so that each part can be judged by itself."""
    if "---" not in text:
        return [Chunk(0, len(text))]
    marks = [match.start() for match in _MARKER.finditer(text)]
    starts = marks if marks and marks[0] == 0 else [0, *marks]
    return [Chunk(start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


class Composer:
    """Reads the chunks of one file; the limits hold for all of them together."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0
        self._offset = 0
        self._next: Callable[[], Any] = _no_event
        self._problems: list[Diagnostic] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}

    def compose(self, chunk: Chunk) -> Composed:
        """Return the tree of a chunk; what is wrong with it is in `problems`, never raised."""
        self._offset, self._problems, self._anchors = chunk.start, [], {}
        text = self._source.text[chunk.start : chunk.end]
        try:
            if unprintable := _UNPRINTABLE.search(text):
                raise _Unreadable(self._unprintable(chunk.start + unprintable.start()))
            readable, restored = _without_false_breaks(text)
            self._next = CParser(readable).get_event
            root = self._document()
        except _Unreadable as error:
            return Composed(None, (*self._problems, error.diagnostic), readable=False)
        except YAMLError as error:
            return Composed(
                None, (*self._problems, self._syntax(error, chunk.start + len(text.rstrip()))), readable=False
            )
        if root is not None and restored:
            root = _translated(root, restored)
        if root is not None and _NUL.search(text):
            self._refuse_nul(root)
        return Composed(root, tuple(self._problems))

    def _document(self) -> Node | None:
        root: Node | None = None
        while True:
            event = self._next()
            match event:
                case StreamEndEvent():
                    return None if isinstance(root, ScalarNode) and root.plain and not root.text else root
                case DocumentStartEvent() if root is None:
                    root = self._node(self._next(), 1)
                case DocumentStartEvent():
                    start = self._offset + event.start_mark.index
                    raise _Unreadable(self._error(start, start + 1, "syntax", "a second document begins in mid-line"))

    def _node(self, event: Any, depth: int) -> Node:
        """Build the node that `event` begins; every node counts, an alias for all that it stands for."""
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _Unreadable(self._too_many(event))
        if type(event) is ScalarEvent and event.anchor is None and event.tag is None:
            offset = self._offset
            return ScalarNode(
                event.value, not event.style, offset + event.start_mark.index, offset + event.end_mark.index
            )
        if type(event) is AliasEvent:
            return self._aliased(event)
        if event.tag is not None:
            self._refuse_tag(event)
        anchor, before = event.anchor, self._nodes
        if anchor is not None:
            self._anchors[anchor] = None
        if type(event) is ScalarEvent:
            start, end = self._offset + event.start_mark.index, self._offset + event.end_mark.index
            node: Node = ScalarNode(event.value, not event.style, start, end)
        elif depth > DEPTH_MAX:
            raise _Unreadable(self._too_deep(event))
        elif type(event) is MappingStartEvent:
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if anchor is not None:
            self._anchors[anchor] = (node, self._nodes - before)
        return node

    def _sequence(self, event: Any, depth: int) -> SequenceNode:
        items: list[Node] = []
        following = self._next
        while type(inner := following()) is not SequenceEndEvent:
            items.append(self._node(inner, depth + 1))
        return SequenceNode(
            tuple(items), *self._extent(event, inner, items[-1] if items else None), bool(event.flow_style)
        )

    def _mapping(self, event: Any, depth: int) -> MappingNode:
        pairs: dict[str, tuple[ScalarNode, Node]] = {}
        merged: list[Node] = []
        last: Node | None = None
        following = self._next
        while type(inner := following()) is not MappingEndEvent:
            key = self._node(inner, depth + 1)
            value = self._node(following(), depth + 1)
            last = value
            if type(key) is not ScalarNode:
                self._report(key, "complex-key", "a key is a text; a list or a mapping cannot be one")
            elif key.plain and key.text == "<<":
                self._refuse_merge(key)
                merged.append(value)
            elif key.text in pairs:
                self._refuse_duplicate(pairs[key.text][0], key)
            else:
                pairs[key.text] = (key, value)
        for other in merged:
            _merge(pairs, other)
        return MappingNode(pairs, *self._extent(event, inner, last), bool(event.flow_style))

    def _extent(self, first: Any, last: Any, inside: Node | None) -> tuple[int, int]:
        """Return the offsets of a collection; a block one ends with its last node, not at the next token."""
        start = self._offset + first.start_mark.index
        if first.flow_style:
            return start, self._offset + last.end_mark.index
        return start, start if inside is None else max(start, inside.end)

    def _aliased(self, event: Any) -> Node:
        found = self._anchors.get(event.anchor)
        if found is None:
            return self._empty_alias(event)
        node, size = found
        self._nodes += size
        if self._nodes > NODES_MAX:
            raise _Unreadable(self._too_many(event))
        return node

    def _empty_alias(self, event: Any) -> ScalarNode:
        """Report an alias that leads nowhere, and go on as if nothing stood there."""
        if event.anchor in self._anchors:
            problem = self._at(event, "recursive-alias", f'"*{event.anchor}" stands inside what it names')
        else:
            problem = self._at(event, "undefined-alias", f'no anchor "&{event.anchor}" stands above')
        self._problems.append(problem)
        return ScalarNode("", True, self._offset + event.start_mark.index, self._offset + event.end_mark.index)

    def _refuse_tag(self, event: Any) -> None:
        start = self._offset + event.start_mark.index
        found = re.compile(r"(?:&\S*\s+)?(!\S*)").match(self._source.text, start)
        first, last = found.span(1) if found else (start, start + 1)
        message = f'the tag "{self._source.text[first:last][:80]}" is not understood'
        self._problems.append(self._error(first, last, "tag", message, "tags are not used here; leave it out"))

    def _refuse_merge(self, key: ScalarNode) -> None:
        message = 'the merge key "<<" is not part of YAML 1.2'
        remedy = (
            "write the fields out, or give a whole value an anchor (`pools: &pools [a]`) and use it (`pools: *pools`)"
        )
        self._problems.append(self._error(key.start, key.end, "merge-key", message, remedy))

    def _refuse_duplicate(self, first: ScalarNode, second: ScalarNode) -> None:
        related = Related(self._source.node_span(first), "the first one stands here")
        span = self._source.node_span(second)
        message = f'the key "{second.text[:80]}" stands twice in one mapping'
        self._problems.append(Diagnostic(span, Severity.ERROR, "duplicate-key", message, related=(related,)))

    def _unprintable(self, offset: int) -> Diagnostic:
        number = f"{ord(self._source.text[offset]):04X}"
        message = f"the control character U+{number} cannot stand in YAML"
        remedy = "delete it"
        if int(number, 16):
            remedy += f', or write it as an escape in double quotes ("\\u{number}")'
        return self._error(offset, offset + 1, "control-character", message, remedy)

    def _refuse_nul(self, node: Node) -> None:
        """Report each text that holds U+0000 as an escape: neither PostgreSQL nor an environment nor a path takes it."""
        match node:
            case ScalarNode() if "\0" in node.text:
                message = "the control character U+0000 cannot stand in a text, not as an escape either"
                self._report(node, "control-character", message)
            case SequenceNode():
                for item in node.items:
                    self._refuse_nul(item)
            case MappingNode():
                for key, value in node.entries.values():
                    self._refuse_nul(key)
                    self._refuse_nul(value)

    def _too_many(self, event: Any) -> Diagnostic:
        message = f"the file holds more than {NODES_MAX:,} values, counting every alias as what it stands for"
        return self._at(event, "too-many-nodes", message, "split the file")

    def _too_deep(self, event: Any) -> Diagnostic:
        return self._at(event, "too-deep", f"lists and mappings are nested more than {DEPTH_MAX} deep")

    def _report(self, node: Node, code: str, message: str) -> None:
        self._problems.append(Diagnostic(self._source.node_span(node), Severity.ERROR, code, message))

    def _at(self, event: Any, code: str, message: str, remedy: str = "") -> Diagnostic:
        start, end = self._offset + event.start_mark.index, self._offset + event.end_mark.index
        return self._error(start, end, code, message, remedy)

    def _error(self, start: int, end: int, code: str, message: str, remedy: str = "") -> Diagnostic:
        return Diagnostic(self._source.span(start, end), Severity.ERROR, code, message, remedy)

    def _syntax(self, error: YAMLError, last: int) -> Diagnostic:
        """Say in plain words what libyaml stumbled over; `last` is where the chunk's text ends."""
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        if isinstance(error, MarkedYAMLError) and error.context == "while scanning a quoted scalar":
            mark = error.context_mark  # the quote that is not closed, not the end of the file
        offset = min(self._offset + (mark.index if mark else 0), last)
        line = _line_around(self._source.text, offset)
        character = self._source.text[offset : offset + 1]
        if character == "\t" or (line[: len(line) - len(line.lstrip())].find("\t") >= 0):
            return self._error(offset, offset + 1, "tab", "a tab cannot indent YAML", "indent with spaces")
        problem = str(getattr(error, "problem", None) or "it cannot be read")
        context = str(getattr(error, "context", None) or "")
        return self._error(offset, offset + 1, "syntax", _plain_words(problem, context, character), _remedy(line))


def _merge(pairs: dict[str, tuple[ScalarNode, Node]], other: Node) -> None:
    """Put in what a merge key means, so that what else is wrong is told in one run with it."""
    for node in other.items if isinstance(other, SequenceNode) else (other,):
        if isinstance(node, MappingNode):
            for name, entry in node.entries.items():
                pairs.setdefault(name, entry)


def _without_false_breaks(text: str) -> tuple[str, dict[int, str]]:
    """Replace the line breaks of YAML 1.1 that are none in 1.2, letter by letter; the mapping leads back."""
    found = sorted(set(_FALSE_BREAKS.findall(text)))
    if not found:
        return text, {}
    unused = (code for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    table = dict(zip(map(ord, found), unused, strict=False))
    return text.translate(table), {code: chr(original) for original, code in table.items()}


def _translated(node: Node, table: dict[int, str]) -> Node:
    match node:
        case ScalarNode():
            return node._replace(text=node.text.translate(table))
        case SequenceNode():
            return node._replace(items=tuple(_translated(item, table) for item in node.items))
    entries = [(_translated(key, table), _translated(value, table)) for key, value in node.entries.values()]
    return node._replace(entries={key.text: (key, value) for key, value in entries if isinstance(key, ScalarNode)})


def _no_event() -> None:
    """Stand for a parser before there is one."""


def _line_around(text: str, offset: int) -> str:
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    ends = [end for end in (text.find("\n", offset), text.find("\r", offset)) if end >= 0]
    return text[start : min(ends, default=len(text))]


def _remedy(line: str) -> str:
    return 'put "${{ … }}" in quotes: in flow style, and where ": " is inside, it needs them' if "${{" in line else ""


def _plain_words(problem: str, context: str, character: str) -> str:
    sentences = {
        "mapping values are not allowed in this context": 'a ":" cannot stand here; indent the line as a key, or put the text in quotes',
        "did not find expected key": "a key is expected here; is the line indented like those above it?",
        "did not find expected '-' indicator": 'a "-" is expected here; is the line indented like those above it?',
        "did not find expected ',' or ']'": 'a "," or "]" is expected here',
        "did not find expected ',' or '}'": 'a "," or "}" is expected here',
        "could not find expected ':'": 'a ":" is expected after this key',
        "found unexpected ':'": 'a text that holds ":" needs quotes between brackets or braces',
        "found character that cannot start any token": f'a text that begins with "{character}" needs quotes',
        "found unknown escape character": "this escape is not known in double quotes; write a backslash as \\\\",
        "did not find expected <document start>": 'a new document begins with "---"',
        "found incompatible YAML document": "this version of YAML is not understood; leave the %YAML line out",
    }
    if problem == "found unexpected end of stream":
        return "a quote is not closed" if "quoted" in context else "the text ends too early"
    return sentences.get(problem, problem)
