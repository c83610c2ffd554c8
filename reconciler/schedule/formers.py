"""Workers that were renamed while they work: under which name their machines are spoken with, and what runs there."""

import json
from collections.abc import Iterator, Mapping, Sequence

from reconciler.model.live import Occupant
from reconciler.model.spec import Address
from reconciler.schedule.fleet import Described, Former


def formers_of(
    objects: Mapping[Address, Described], leaving: Mapping[str, str], occupants: Mapping[str, Sequence[Occupant]]
) -> dict[str, Former]:
    """Map each worker whose machine still works under another name to that name and to what runs there.

    `leaving` holds the specs (canonical JSON) of workers that left Git while something lives on them, `occupants` what
    lives on each. Two names are one machine where they share a thumbprint.
    """
    found: dict[str, Former] = {}
    for former, spec in leaving.items():
        shown, living = [json.dumps(each) for each in _thumbprints(spec)], occupants.get(former, ())
        for address, declared in objects.items():
            is_another = address.kind == "Worker" and address.name != former
            if living and is_another and any(thumbprint in declared.spec for thumbprint in shown):
                found.setdefault(address.name, Former(former, _words(*living)))
    return found


def _thumbprints(spec: str) -> Iterator[str]:
    for endpoint in json.loads(spec)["endpoint"].values():
        yield from endpoint.get("thumbprints", ())


def _words(first: Occupant, *others: Occupant) -> str:
    """Say what runs on a machine: `ship of task 3 (and 1 more)`."""
    more = f" (and {len(others)} more)" if others else ""
    return f"{first.step} of task {first.task}{more}"
