"""A WorkerSet as the Workers that it stands for."""

from collections.abc import Iterable, Iterator

from reconciler.declare.shapes import Path
from reconciler.model.infrastructure import WorkerDefaults, WorkerEntry, WorkerSetSpec, WorkerSpec
from reconciler.model.spec import Metadata

_SHARED = tuple(name for name in WorkerSpec.model_fields if name in WorkerDefaults.model_fields)


def expand(declared: WorkerSetSpec, metadata: Metadata) -> Iterator[tuple[Metadata, WorkerSpec]]:
    """Yield metadata and spec of each worker, in order; without pools where neither it nor the defaults name one.

    What an entry says replaces the default; labels of the set, of its defaults and of the entry are joined, the
    nearest winning; a protected set protects each of its workers.
    """
    for entry in declared.workers:
        yield _metadata(entry, declared.defaults, metadata), _spec(entry, declared.defaults)


def _metadata(entry: WorkerEntry, defaults: WorkerDefaults, of_set: Metadata) -> Metadata:
    return Metadata.model_construct(
        name=entry.name,
        display_name=entry.display_name,
        labels={**of_set.labels, **defaults.labels, **entry.labels},
        annotations=of_set.annotations,
        protect=entry.protect or of_set.protect,
        renamed_from=entry.renamed_from,
    )


def _spec(entry: WorkerEntry, defaults: WorkerDefaults) -> WorkerSpec:
    said = entry.model_fields_set
    traits = {name: getattr(entry if name in said else defaults, name) for name in _SHARED}
    return WorkerSpec.model_construct(**traits, endpoint=entry.endpoint)


def worker_gaps(gaps: Iterable[Path], declared: WorkerSetSpec) -> list[frozenset[Path]]:
    """Return what is not certain of each worker, from the paths of what is not certain of its set."""
    own: list[set[Path]] = [set() for _ in declared.workers]
    shared: list[Path] = []
    for gap in gaps:
        match gap:
            case ("spec", "workers", int(number), "name"):
                own[number].add(("metadata", "name"))
            case ("spec", "workers", int(number), *rest):
                own[number] |= {("spec", *rest)} if rest else {("spec",), ("metadata",)}
            case ("spec", "defaults", _, *_):
                shared.append(gap[2:])
            case ("spec",) | ("spec", "workers") | ("spec", "defaults"):
                for worker in own:
                    worker |= {("spec",), ("metadata",)}
    for worker, entry in zip(own, declared.workers, strict=True):
        fields = WorkerEntry.model_fields.items() if shared else ()
        said = {field.alias or name for name, field in fields if name in entry.model_fields_set}
        worker |= {("spec", *path) for path in shared if path[0] not in said}
    return [frozenset(worker) for worker in own]
