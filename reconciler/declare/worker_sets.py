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


def worker_gaps(gaps: Iterable[Path], item: int, entry: WorkerEntry) -> frozenset[Path]:
    """Return what is not certain of one worker, from the paths of what is not certain of its set."""
    said = {field.alias or name for name, field in WorkerEntry.model_fields.items() if name in entry.model_fields_set}
    own: set[Path] = set()
    for gap in gaps:
        match gap[1:] if gap[:1] == ("spec",) else ("of the set",):
            case ("workers", number, "name") if number == item:
                own.add(("metadata", "name"))
            case ("workers", number, *rest) if number == item:
                own |= {("spec", *rest)} if rest else {("spec",), ("metadata",)}
            case () | ("workers",) | ("defaults",):
                own |= {("spec",), ("metadata",)}
            case ("defaults", field, *rest) if field not in said:
                own.add(("spec", field, *rest))
    return frozenset(own)
