"""A WorkerSet as the Workers that it stands for."""

from collections.abc import Iterator

from reconciler.model.infrastructure import WorkerDefaults, WorkerEntry, WorkerSetSpec, WorkerSpec
from reconciler.model.spec import Metadata

_SHARED = tuple(name for name in WorkerSpec.model_fields if name in WorkerDefaults.model_fields)


def expand(declared: WorkerSetSpec, metadata: Metadata) -> Iterator[tuple[Metadata, WorkerSpec | None]]:
    """Yield metadata and spec of each worker, in order; None where neither it nor the defaults name a pool.

    What an entry says replaces the default; labels of the set, of its defaults and of the entry are joined, the
    nearest winning; a protected set protects each of its workers.
    """
    for entry in declared.workers:
        yield _metadata(entry, declared.defaults, metadata), _spec(entry, declared.defaults)


def _metadata(entry: WorkerEntry, defaults: WorkerDefaults, of_set: Metadata) -> Metadata:
    return Metadata(
        name=entry.name,
        display_name=entry.display_name,
        labels={**of_set.labels, **defaults.labels, **entry.labels},
        annotations=of_set.annotations,
        protect=entry.protect or of_set.protect,
        renamed_from=entry.renamed_from,
    )


def _spec(entry: WorkerEntry, defaults: WorkerDefaults) -> WorkerSpec | None:
    said = entry.model_fields_set
    traits = {name: getattr(entry if name in said else defaults, name) for name in _SHARED}
    if not traits["pools"]:
        return None
    return WorkerSpec(**traits, endpoint=entry.endpoint)
