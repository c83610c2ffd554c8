"""Field by field: how two versions of one object differ."""

import json
from collections.abc import Iterator
from typing import Protocol

from pydantic import JsonValue

from reconciler.model.spec import canonical_json
from reconciler.plan.changes import ABSENT, Absent, FieldChange
from reconciler.plan.redaction import Veil, blotted, veil_of


class Version(Protocol):
    """One version of an object by its canonical JSON."""

    @property
    def spec(self) -> str:
        """Canonical JSON of the spec."""

    @property
    def metadata(self) -> str:
        """Canonical JSON of the metadata."""


def differences(before: Version | None, after: Version | None, kind: str = "") -> tuple[FieldChange, ...]:
    """Return every field that differs, the deepest mapping keys apart; lists differ as a whole unless named.

    Former values of what is redacted for a `kind` are not shown: a snapshot does not have them.
    """
    veil = veil_of(kind)
    found = [*_compare("metadata", _load(before, "metadata"), _load(after, "metadata"), veil.inner("metadata"))]
    found += _compare("", _load(before, "spec"), _load(after, "spec"), veil)
    return tuple(field for field in found if field.path != "metadata.name")


def _load(version: Version | None, part: str) -> JsonValue | Absent:
    if version is None:
        return {}
    value: JsonValue = json.loads(version.spec if part == "spec" else version.metadata)
    return value


def _compare(
    path: str, before: JsonValue | Absent, after: JsonValue | Absent, veil: Veil | None
) -> Iterator[FieldChange]:
    if _same(before, after):
        return
    if veil is not None and veil.covers and not isinstance(before, Absent):
        yield FieldChange(path, blotted(before, veil), after)
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{path}.{key}" if path else key
            yield from _compare(inner, before.get(key, ABSENT), after.get(key, ABSENT), veil and veil.inner(key))
    elif isinstance(before, list) and isinstance(after, list) and _named(before) and _named(after):
        yield from _compare(path, _by_name(before), _by_name(after), veil)
        if [_name(item) for item in before] != [_name(item) for item in after]:
            yield FieldChange(f"{path}.order", [_name(item) for item in before], [_name(item) for item in after])
    elif isinstance(before, Absent) and isinstance(after, list) and after and _named(after):
        yield from _compare(path, {}, _by_name(after), None)
        if len(after) > 1:
            yield FieldChange(f"{path}.order", ABSENT, [_name(item) for item in after])
    elif isinstance(after, Absent) and isinstance(before, list) and before and _named(before):
        yield from _compare(path, _by_name(before), {}, veil)
    else:
        yield FieldChange(path, before if isinstance(before, Absent) else blotted(before, veil), after)


def _same(before: JsonValue | Absent, after: JsonValue | Absent) -> bool:
    """Tell whether two values are one in JSON, where 1, 1.0 and true are three; Python calls them equal."""
    if before != after or isinstance(before, Absent) or isinstance(after, Absent):
        return before == after
    return isinstance(before, str) or canonical_json(before) == canonical_json(after)


def _named(items: list[JsonValue]) -> bool:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    return all(isinstance(name, str) for name in names) and len(set(map(str, names))) == len(names)


def _by_name(items: list[JsonValue]) -> JsonValue:
    return {
        _name(item): {key: value for key, value in item.items() if key != "name"}
        for item in items
        if isinstance(item, dict)
    }


def _name(item: JsonValue) -> str:
    return str(item["name"]) if isinstance(item, dict) else ""
