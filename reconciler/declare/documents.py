"""The bytes of a file to declared objects, with every fault at its place; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from reconciler.declare.bind import Actions, Binder, Bound
from reconciler.declare.explain import at
from reconciler.declare.globs import SPACE_FILE
from reconciler.declare.headers import GROUP, holds_our_version, judge, kinds_in, may_be_ours
from reconciler.declare.nodes import MappingNode, Node, Piece, ScalarNode, SequenceNode, Source
from reconciler.declare.objects import Document, objects_of
from reconciler.declare.partial import Hidden, Partial
from reconciler.declare.shapes import Path, walk
from reconciler.declare.yaml import DOCUMENTS_MAX, Chunk, Composed, Composer, chunks
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Severity, Span
from reconciler.model.kinds import KINDS
from reconciler.model.near import closest
from reconciler.model.spec import Address, Metadata

BYTES_MAX = 4 * 2**20  # of a file: 10,000 workers; read in a second
NOTHING = Hidden()
_TOP_KEYS = ("apiVersion", "kind", "metadata", "spec")
_ANY_KIND = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a file declares; `foreign` counts the documents that are not ours."""

    declared: tuple[Declared, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    foreign: int = 0
    partial: tuple[Partial, ...] = ()
    """What is certain of the documents that hold errors."""
    hidden: Hidden = NOTHING
    """What else the file may mean to declare."""
    is_lenient: bool = False
    """Was a fault overlooked that is told where the live state holds an object from this path?"""


def parse_file(path: str, data: bytes, *, known_to_live: bool = False) -> ParsedFile:
    """Read one file; never raises for what is in it.

    `known_to_live` says that the live state holds an object from this path: then a file that does not parse is an
    error whatever it looks like.
    """
    source, fault = _decoded(path, data)
    if fault is not None:
        ours = known_to_live or may_be_ours(source.text) or GROUP.encode() in data
        if ours:
            return ParsedFile(diagnostics=(fault,), hidden=Hidden(_ANY_KIND))
        return ParsedFile(foreign=1, is_lenient=True)
    return _File(source, known_to_live).parse()


def _decoded(path: str, data: bytes) -> tuple[Source, Diagnostic | None]:
    """Return the text of a file without its byte order mark, and what is wrong with its bytes as a whole."""
    if len(data) > BYTES_MAX:
        message = f"the file has {len(data):,} bytes, more than {BYTES_MAX:,}"
        fault = Diagnostic(Span(path), Severity.ERROR, "file-too-large", message, "split the file")
        return Source(path, data[:BYTES_MAX].decode("utf-8", "replace")), fault
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        fault = Diagnostic(Span(path), Severity.ERROR, "not-utf8", "the file is UTF-16", "save it as UTF-8")
        return Source(path, data.decode("utf-16", "replace")), fault
    try:
        return Source(path, data.decode("utf-8").removeprefix("\ufeff")), None
    except UnicodeDecodeError as error:
        source = Source(path, data.decode("utf-8", "replace").removeprefix("\ufeff"))
        offset = len(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8 here"
        span = source.span(offset, offset + 1)
        return source, Diagnostic(span, Severity.ERROR, "not-utf8", message, "save the file as UTF-8")


def _composed(source: Source) -> Iterator[tuple[Chunk, Composed]]:
    """Yield the documents of a file in order; empty ones are left out."""
    composer = Composer(source)
    for chunk in chunks(source.text):
        composed = composer.compose(chunk)
        if composed.root is not None or not composed.readable:
            yield chunk, composed


class _File:
    """One file while it is read."""

    def __init__(self, source: Source, known_to_live: bool) -> None:
        self._source = source
        self._known_to_live = known_to_live
        self._binder = Binder(source, step_actions)
        self._declared: list[Declared] = []
        self._problems: list[Diagnostic] = []
        self._foreign = 0
        self._partial: list[Partial] = []
        self._hidden = NOTHING
        self._is_lenient = False

    def parse(self) -> ParsedFile:
        for index, (chunk, composed) in enumerate(_composed(self._source)):
            if index >= DOCUMENTS_MAX:
                self._too_many_documents(chunk)
                break
            if composed.root is None:
                self._unreadable(chunk, composed)
            else:
                self._document(index, chunk, composed.root, composed.problems)
        problems = sorted(self._problems, key=lambda problem: problem.sort_key)
        return ParsedFile(
            *(tuple(self._declared), tuple(problems), self._foreign, tuple(self._partial), self._hidden),
            self._is_lenient,
        )

    def _too_many_documents(self, chunk: Chunk) -> None:
        if self._known_to_live or GROUP in self._source.text:
            message = f"the file holds more than {DOCUMENTS_MAX:,} documents"
            span = self._source.span(chunk.start, chunk.start + 3)
            self._problems.append(Diagnostic(span, Severity.ERROR, "too-many-documents", message, "split the file"))
            self._hidden |= Hidden(_ANY_KIND)
        else:
            self._is_lenient = True

    def _unreadable(self, chunk: Chunk, composed: Composed) -> None:
        text = self._source.text[chunk.start : chunk.end]
        if may_be_ours(text) or (self._known_to_live and "apiVersion:" not in text):
            self._problems += composed.problems
            self._hide(chunk)
        else:
            self._foreign += 1
            self._is_lenient |= "apiVersion:" not in text

    def _hide(self, chunk: Chunk) -> None:
        """Note that a chunk may declare any object of the kinds that its lines name."""
        self._hidden |= Hidden(kinds_in(self._source.text[chunk.start : chunk.end]))

    def _document(self, index: int, chunk: Chunk, root: Node, problems: tuple[Diagnostic, ...]) -> None:
        ours, kind, faults = judge(root, self._binder.explainer)
        if not ours:
            if problems and holds_our_version(self._source.text[chunk.start : chunk.end]):
                self._problems += problems  # a "---" is missing between a foreign document and one of ours
                self._hide(chunk)
            else:
                self._foreign += 1
            return
        assert isinstance(root, MappingNode)
        parts = self._parts(root)
        metadata = self._metadata(root, parts)
        found = [*faults, *self._unknown_keys(root, kind), *metadata.problems]
        bound = None if kind is None else self._spec(kind, root, parts)
        found += () if bound is None else bound.problems
        found += self._place_of_space(root) if kind == "Space" else ()
        told = {problem.span for problem in problems}  # an undefined alias is not told of again as an empty value
        self._problems += [*problems, *(problem for problem in found if problem.span not in told)]
        if any(problem.code == "duplicate-key" for problem in problems):
            self._hide(chunk)  # a "---" may be missing
        if kind is None or bound is None:
            self._note_unknown_kind(metadata)
        else:
            faulty = bool(problems or found)
            self._declare(Document(index, kind, root, metadata, bound, faulty, self._unsettled(root, problems)))

    def _parts(self, root: MappingNode) -> dict[str, tuple[ScalarNode, Node]]:
        """Return metadata and spec, also where there is a slip in the key."""
        return {name: root.entries[key] for name, key in _top_keys(root).items()}

    def _note_unknown_kind(self, metadata: Bound) -> None:
        found = metadata.spec or metadata.outline
        if isinstance(found, Metadata) and ("name",) not in metadata.gaps:
            self._hidden |= Hidden(addresses=frozenset(Address(kind, found.name) for kind in KINDS))
        else:
            self._hidden |= Hidden(_ANY_KIND)

    def _unsettled(self, root: Node, problems: tuple[Diagnostic, ...]) -> frozenset[Path]:
        """Return the paths of the keys that stand twice: which of their values is meant is open."""
        firsts = {other.span for problem in problems if problem.code == "duplicate-key" for other in problem.related}
        return (
            frozenset(path for path, key in _keys(root) if self._source.node_span(key) in firsts)
            if firsts
            else frozenset()
        )

    def _unknown_keys(self, root: MappingNode, kind: str | None) -> list[Diagnostic]:
        spec = KINDS[kind] if kind is not None else None
        shape = {**dict.fromkeys(_TOP_KEYS), "metadata": Metadata, "spec": spec}
        strange = [name for name in root.entries if name not in shape]
        return [self._binder.explainer.unknown_key(root, name, shape) for name in strange]

    def _metadata(self, root: MappingNode, parts: Mapping[str, tuple[ScalarNode, Node]]) -> Bound:
        key, node = parts.get("metadata", (None, None))
        if node is not None:
            return self._binder.bind(Metadata, node, key)
        explainer = self._binder.explainer
        fault = explainer.error(explainer.spot(root, None), "missing-key", 'the key "metadata" is missing')
        return Bound(None, None, (), (fault,), frozenset({()}))

    def _spec(self, kind: str, root: MappingNode, parts: Mapping[str, tuple[ScalarNode, Node]]) -> Bound:
        """Bind the spec; an absent or empty one is a mapping without keys."""
        named = root.get("kind")
        assert isinstance(named, ScalarNode)
        key, node = parts.get("spec", (named, MappingNode({}, named.start, named.end)))
        if isinstance(node, ScalarNode) and node.plain and not node.text:
            node = MappingNode({}, key.start, key.end)
        return self._binder.bind(KINDS[kind], node, key)

    def _place_of_space(self, root: MappingNode) -> Iterator[Diagnostic]:
        span = at(self._source, root, ("kind",))
        others = (*self._declared, *(partial.declared for partial in self._partial))
        if self._source.file != SPACE_FILE:
            message = f"a Space stands in {SPACE_FILE} at the root of the space"
            yield Diagnostic(span, Severity.ERROR, "misplaced-space", message)
        elif any(declared.address.kind == "Space" for declared in others):
            message = "there is one Space in a space, and this is the second"
            yield Diagnostic(span, Severity.ERROR, "second-space", message)

    def _declare(self, document: Document) -> None:
        found = objects_of(document, self._source)
        self._declared += found.declared
        self._partial += found.partial
        self._problems += found.problems


def _top_keys(root: Node) -> dict[str, str]:
    """Return under which key metadata and spec stand, a slip in it allowed for."""
    if not isinstance(root, MappingNode):
        return {}
    strange = {closest(name, _TOP_KEYS): name for name in root.entries if name not in _TOP_KEYS}
    found = {name: name if name in root.entries else strange.get(name) for name in ("metadata", "spec")}
    return {name: key for name, key in found.items() if key is not None}


def _keys(root: Node, path: Path = ()) -> Iterator[tuple[Path, ScalarNode]]:
    """Yield every key below a node with its path."""
    match root:
        case MappingNode():
            for name, (key, value) in root.entries.items():
                yield (*path, name), key
                yield from _keys(value, (*path, name))
        case SequenceNode():
            for index, item in enumerate(root.items):
                yield from _keys(item, (*path, index))


@cache
def step_actions() -> Actions:
    """Return the built-in step types as the binder needs them."""
    from reconciler.steps.table import FUTURE, STEP_TYPES

    return Actions({name: step_type.inputs for name, step_type in STEP_TYPES.items()}, FUTURE)


class Places:
    """The documents of one file again, to find the places of fields for faults that show later."""

    def __init__(self, path: str, data: bytes) -> None:
        self._source, fault = _decoded(path, data)
        self._roots = [] if fault else [composed.root for _, composed in _composed(self._source)]

    def span(self, declared: Declared, field_path: Path, *, key: bool = False, piece: Piece | None = None) -> Span:
        """Return the place of a field, of its key, or of a piece of a text that runs over lines.

        It is that of the nearest thing around it where it is not written.

        `field_path` begins with "spec" or "metadata"; anything else is taken as a field of the spec. For a worker of
        a set it is a path of the Worker that the set stands for.
        """
        root = self._roots[declared.document] if declared.document < len(self._roots) else None
        if root is None:
            return Span(*declared.position, declared.position.line, declared.position.column + 1)
        path = _document_path(root, declared, field_path)
        exact = self._source.piece_span(walk(root, path), piece) if piece else None
        return exact or at(self._source, root, path, key=key)


def locate(path: str, data: bytes, declared: Declared, field_path: Path, *, key: bool = False) -> Span:
    """Return the place of one field; see `Places.span`."""
    return Places(path, data).span(declared, field_path, key=key)


def _document_path(root: Node, declared: Declared, field_path: Path) -> Path:
    """Return a field's path in its document; a worker of a set has it in its entry or in the defaults."""
    full = field_path if field_path[:1] in {("metadata",), ("spec",)} else ("spec", *field_path)
    entry: Path = ("spec", "workers", declared.item or 0)
    top = _top_keys(root)
    if declared.item is None:
        return (top[str(full[0])], *full[1:]) if full[0] in top else ("kind",)
    if full[: len(entry)] == entry:
        return full
    inside, node, shared = full[1:], walk(root, entry), walk(root, ("spec", "defaults"))
    if inside and isinstance(node, MappingNode) and str(inside[0]) not in node.entries:
        in_defaults = isinstance(shared, MappingNode) and str(inside[0]) in shared.entries
        return ("spec", "defaults", *inside) if in_defaults else (*entry, "name")
    return (*entry, *inside)
