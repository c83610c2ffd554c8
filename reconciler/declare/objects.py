"""The objects that a document declares: complete ones, or what is certain of a faulty document."""

from typing import NamedTuple

from reconciler.declare.bind import Bound
from reconciler.declare.explain import at
from reconciler.declare.gaps import Gaps
from reconciler.declare.nodes import MappingNode, Node, ScalarNode, Source
from reconciler.declare.outline import stand_in
from reconciler.declare.partial import Partial, is_stand_in
from reconciler.declare.shapes import Path, walk
from reconciler.declare.uses import uses
from reconciler.declare.worker_sets import expand, worker_gaps
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Severity
from reconciler.model.infrastructure import WorkerSetSpec
from reconciler.model.spec import Address, Metadata, Position, Reference, Spec, canonical_json, digest_of


class Document(NamedTuple):
    """A document of a known kind, its metadata and spec bound.

    `number` counts the documents of the file from 0; `unsettled` are the paths of keys that stand twice.
    """

    number: int
    kind: str
    root: MappingNode
    metadata: Bound
    spec: Bound
    faulty: bool
    unsettled: frozenset[Path] = frozenset()

    @property
    def gaps(self) -> frozenset[Path]:
        """All that is not certain, as paths of the document."""
        of_metadata = {("metadata", *gap) for gap in self.metadata.gaps}
        return self.unsettled | of_metadata | {("spec", *gap) for gap in self.spec.gaps}


class Objects(NamedTuple):
    """What a document comes to; the objects of a faulty one are partial. A set of workers may show faults only now."""

    declared: tuple[Declared, ...] = ()
    partial: tuple[Partial, ...] = ()
    problems: tuple[Diagnostic, ...] = ()


class _Found(NamedTuple):
    """An object and where it stands."""

    metadata: Metadata
    spec: Spec
    references: tuple[Reference, ...]
    position: Position
    document: int
    item: int | None = None


def objects_of(document: Document, source: Source) -> Objects:
    """Return what a document declares."""
    metadata, spec = _metadata(document, source), document.spec.spec or document.spec.outline
    assert spec is not None
    if isinstance(spec, WorkerSetSpec):
        return _workers(document, metadata, spec, source)
    position = _position(source, document.root)
    name = walk(document.root, ("metadata", "name"))
    written = name.text if isinstance(name, ScalarNode) else ""
    found = _Found(metadata, spec, document.spec.references, position, document.number)
    declared = _declared(Address(document.kind, written or metadata.name), found)
    if not document.faulty:
        return Objects((declared,))
    return Objects(partial=(Partial(declared, spec, Gaps(document.gaps), written),))


def _metadata(document: Document, source: Source) -> Metadata:
    found = document.metadata.spec or document.metadata.outline
    if isinstance(found, Metadata):
        return found
    return Metadata.model_construct(name=stand_in(str, f"{source.file} {document.root.start}"))


def _workers(document: Document, metadata: Metadata, declared: WorkerSetSpec, source: Source) -> Objects:
    """Return the workers that a set stands for."""
    whole: list[Declared] = []
    partial: list[Partial] = []
    problems = _rename_of_set(document, source)
    of_worker = worker_gaps(document.gaps, declared)
    for item, (who, spec) in enumerate(expand(declared, metadata)):
        own = of_worker[item]
        if not spec.pools and not {("spec",), ("spec", "pools")} & own:
            problems.append(_without_pools(document.root, item, source))
            own |= {("spec", "pools")}
        named = tuple(use for use in uses(spec) if not is_stand_in(use.target.name))
        position = _position(source, walk(document.root, ("spec", "workers", item)))
        found = _declared(Address("Worker", who.name), _Found(who, spec, named, position, document.number, item))
        if document.faulty or own:
            partial.append(Partial(found, spec, Gaps(own), "" if is_stand_in(who.name) else who.name))
        else:
            whole.append(found)
    return Objects(tuple(whole), tuple(partial), tuple(problems))


def _rename_of_set(document: Document, source: Source) -> list[Diagnostic]:
    metadata = document.metadata.spec
    if not isinstance(metadata, Metadata) or metadata.renamed_from is None:
        return []
    message = "a WorkerSet has no identity of its own; write renamedFrom at its workers"
    span = at(source, document.root, ("metadata", "renamedFrom"), key=True)
    return [Diagnostic(span, Severity.ERROR, "bad-rename", message)]


def _without_pools(root: Node, item: int, source: Source) -> Diagnostic:
    span = at(source, root, ("spec", "workers", item, "name"))
    message = 'the key "pools" is missing, here and in the defaults of the set'
    return Diagnostic(span, Severity.ERROR, "missing-key", message)


def _position(source: Source, node: Node) -> Position:
    return Position(source.file, *source.place(node.start))


def _declared(address: Address, found: _Found) -> Declared:
    metadata = found.metadata
    who = canonical_json(
        metadata.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude={"renamed_from"}, warnings="none"
        )
    )
    what = canonical_json(found.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, warnings="none"))
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
