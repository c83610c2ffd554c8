"""The bytes of a file to declared objects, with every fault at its place; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from reconciler.declare.bind import Actions, Binder, Bound
from reconciler.declare.explain import at
from reconciler.declare.globs import SPACE_FILE
from reconciler.declare.headers import GROUP, holds_our_version, judge, may_be_ours
from reconciler.declare.nodes import MappingNode, Node, ScalarNode, Source
from reconciler.declare.shapes import Path, child_of
from reconciler.declare.uses import uses
from reconciler.declare.worker_sets import expand
from reconciler.declare.yaml import DOCUMENTS_MAX, Chunk, Composed, Composer, chunks
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Severity, Span
from reconciler.model.infrastructure import WorkerSetSpec
from reconciler.model.kinds import KINDS
from reconciler.model.spec import Address, Metadata, Position, Reference, Spec, canonical_json, digest_of

BYTES_MAX = 4 * 2**20  # of a file: 10,000 workers; read in a second
_TOP_KEYS = ("apiVersion", "kind", "metadata", "spec")


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a file declares; `foreign` counts the documents that are not ours."""

    declared: tuple[Declared, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    foreign: int = 0
    broken: frozenset[Address] = frozenset()
    """What was meant to be declared by documents that hold errors."""
    hidden: bool = False
    """True where errors leave open what else the file means to declare."""


def parse_file(path: str, data: bytes, *, known_to_live: bool = False) -> ParsedFile:
    """Read one file; never raises for what is in it.

    `known_to_live` says that the live state holds an object from this path: then a file that does not parse is an
    error whatever it looks like.
    """
    source, fault = _decoded(path, data)
    if fault is not None:
        ours = known_to_live or may_be_ours(source.text) or GROUP.encode() in data
        return ParsedFile(diagnostics=(fault,), hidden=True) if ours else ParsedFile(foreign=1)
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
        self._broken: set[Address] = set()
        self._hidden = False

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
        return ParsedFile(tuple(self._declared), tuple(problems), self._foreign, frozenset(self._broken), self._hidden)

    def _too_many_documents(self, chunk: Chunk) -> None:
        if self._known_to_live or GROUP in self._source.text:
            message = f"the file holds more than {DOCUMENTS_MAX:,} documents"
            span = self._source.span(chunk.start, chunk.start + 3)
            self._problems.append(Diagnostic(span, Severity.ERROR, "too-many-documents", message, "split the file"))

    def _unreadable(self, chunk: Chunk, composed: Composed) -> None:
        text = self._source.text[chunk.start : chunk.end]
        if may_be_ours(text) or (self._known_to_live and "apiVersion:" not in text):
            self._problems += composed.problems
            self._hidden = True
        else:
            self._foreign += 1

    def _document(self, index: int, chunk: Chunk, root: Node, problems: tuple[Diagnostic, ...]) -> None:
        ours, kind, faults = judge(root, self._binder.explainer)
        if not ours:
            if problems and holds_our_version(self._source.text[chunk.start : chunk.end]):
                self._problems += problems  # a "---" is missing between a foreign document and one of ours
                self._hidden = True
            else:
                self._foreign += 1
            return
        assert isinstance(root, MappingNode)
        before = len(self._problems)
        self._problems += [*problems, *faults, *self._unknown_keys(root)]
        metadata = self._metadata(root)
        self._problems += metadata.problems
        if kind is None:
            self._hidden = True
            return
        spec = self._spec(kind, root)
        self._problems += spec.problems
        if kind == "Space":
            self._place_of_space(root)
        if len(self._problems) == before and spec.spec is not None and isinstance(metadata.spec, Metadata):
            self._declare(index, kind, root, metadata.spec, spec)
        else:
            self._note_broken(kind, root)

    def _note_broken(self, kind: str, root: MappingNode) -> None:
        """Remember what a faulty document means to declare, so that nobody calls it undeclared."""
        name = _walk(root, ("metadata", "name"))
        if isinstance(name, ScalarNode):
            self._broken.add(Address(kind, name.text))
        self._hidden |= kind == "WorkerSet" or not isinstance(name, ScalarNode)

    def _unknown_keys(self, root: MappingNode) -> list[Diagnostic]:
        strange = [name for name in root.entries if name not in _TOP_KEYS]
        return [self._binder.explainer.unknown_key(root, name, _TOP_KEYS) for name in strange]

    def _metadata(self, root: MappingNode) -> Bound:
        key, node = root.entries.get("metadata", (None, None))
        if node is not None:
            return self._binder.bind(Metadata, node, key)
        explainer = self._binder.explainer
        fault = explainer.error(explainer.spot(root, None), "missing-key", 'the key "metadata" is missing')
        return Bound(None, None, (), (fault,))

    def _spec(self, kind: str, root: MappingNode) -> Bound:
        """Bind the spec; an absent or empty one is a mapping without keys."""
        named = root.get("kind")
        assert isinstance(named, ScalarNode)
        key, node = root.entries.get("spec", (named, MappingNode({}, named.start, named.end)))
        if isinstance(node, ScalarNode) and node.plain and not node.text:
            node = MappingNode({}, key.start, key.end)
        return self._binder.bind(KINDS[kind], node, key)

    def _place_of_space(self, root: MappingNode) -> None:
        span = at(self._source, root, ("kind",))
        if self._source.file != SPACE_FILE:
            message = f"a Space stands in {SPACE_FILE} at the root of the space"
            self._problems.append(Diagnostic(span, Severity.ERROR, "misplaced-space", message))
        elif any(declared.address.kind == "Space" for declared in self._declared):
            message = "there is one Space in a space, and this is the second"
            self._problems.append(Diagnostic(span, Severity.ERROR, "second-space", message))

    def _declare(self, index: int, kind: str, root: MappingNode, metadata: Metadata, bound: Bound) -> None:
        assert bound.spec is not None
        if isinstance(bound.spec, WorkerSetSpec):
            self._declare_workers(index, root, metadata, bound.spec)
            return
        found = _Found(metadata, bound.spec, bound.references, self._position(root), index)
        self._declared.append(_declared(Address(kind, metadata.name), found))

    def _declare_workers(self, index: int, root: MappingNode, metadata: Metadata, declared: WorkerSetSpec) -> None:
        if metadata.renamed_from is not None:
            message = "a WorkerSet has no identity of its own; write renamedFrom at its workers"
            span = at(self._source, root, ("metadata", "renamedFrom"), key=True)
            self._problems.append(Diagnostic(span, Severity.ERROR, "bad-rename", message))
        for item, (who, spec) in enumerate(expand(declared, metadata)):
            if spec is None:
                span = at(self._source, root, ("spec", "workers", item, "name"))
                message = 'the key "pools" is missing, here and in the defaults of the set'
                self._problems.append(Diagnostic(span, Severity.ERROR, "missing-key", message))
                continue
            entry = _walk(root, ("spec", "workers", item))
            found = _Found(who, spec, uses(spec), self._position(entry), index, item)
            self._declared.append(_declared(Address("Worker", who.name), found))

    def _position(self, node: Node) -> Position:
        return Position(self._source.file, *self._source.place(node.start))


class _Found(NamedTuple):
    """An object without faults, and where it stands."""

    metadata: Metadata
    spec: Spec
    references: tuple[Reference, ...]
    position: Position
    document: int
    item: int | None = None


def _declared(address: Address, found: _Found) -> Declared:
    metadata = found.metadata
    dumped = metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"renamed_from"})
    who, what = canonical_json(dumped), found.spec.canonical()
    return Declared(
        address=address,
        spec=what,
        metadata=who,
        digest=digest_of(f'{{"metadata":{who},"spec":{what}}}'),
        position=found.position,
        document=found.document,
        item=found.item,
        references=found.references,
        protect=metadata.protect,
        renamed_from=metadata.renamed_from,
    )


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

    def span(self, declared: Declared, field_path: Path, *, key: bool = False) -> Span:
        """Return the place of a field, or of its key; of the nearest thing around it where it is not written.

        `field_path` begins with "spec" or "metadata"; anything else is taken as a field of the spec. For a worker of
        a set it is a path of the Worker that the set stands for.
        """
        root = self._roots[declared.document] if declared.document < len(self._roots) else None
        if root is None:
            return Span(*declared.position, declared.position.line, declared.position.column + 1)
        return at(self._source, root, _document_path(root, declared, field_path), key=key)


def locate(path: str, data: bytes, declared: Declared, field_path: Path, *, key: bool = False) -> Span:
    """Return the place of one field; see `Places.span`."""
    return Places(path, data).span(declared, field_path, key=key)


def _document_path(root: Node, declared: Declared, field_path: Path) -> Path:
    """Return a field's path in its document; a worker of a set has it in its entry or in the defaults."""
    full = field_path if field_path[:1] in {("metadata",), ("spec",)} else ("spec", *field_path)
    entry: Path = ("spec", "workers", declared.item or 0)
    if declared.item is None:
        return full if child_of(root, full[0]) is not None else ("kind",)
    if full[: len(entry)] == entry:
        return full
    inside, node, shared = full[1:], _walk(root, entry), _walk(root, ("spec", "defaults"))
    if inside and isinstance(node, MappingNode) and str(inside[0]) not in node.entries:
        in_defaults = isinstance(shared, MappingNode) and str(inside[0]) in shared.entries
        return ("spec", "defaults", *inside) if in_defaults else (*entry, "name")
    return (*entry, *inside)


def _walk(root: Node, path: Path) -> Node:
    """Return the node at `path`, or the last one on the way."""
    for element in path:
        child = child_of(root, element)
        if child is None:
            return root
        root = child
    return root
