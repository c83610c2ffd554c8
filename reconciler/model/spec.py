"""What every declared document shares: frozen specs, metadata, addresses, references to other objects."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from reconciler.model.text import Label, Name, Text

API_VERSION = "reconciler/v1"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Spec(BaseModel):
    """Something people write: frozen, strict, closed; Python's snake_case is YAML's camelCase.

    A default that is a Spec itself comes from `model_construct`: to validate it would cost every command the building
    of its validator.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        defer_build=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        protected_namespaces=(),
        strict=True,
    )

    def canonical(self) -> str:
        """Return canonical JSON: camelCase keys, sorted, without fields at their default."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read canonical JSON back; raises pydantic's ValidationError where another version wrote it."""
        return cls.model_validate_json(text)


def canonical_json(value: Any) -> str:
    """Write JSON that is equal, byte for byte, for equal values."""
    return _CANONICAL.encode(value)


def digest_of(text: str) -> str:
    """Return the lower-case hexadecimal SHA-256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


class Address(NamedTuple):
    """Where an object is found: `Worker/p-db-omaha-worker-01`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `Kind/name`; raises ValueError when there is no slash."""
        kind, separator, name = text.partition("/")
        if not separator or not kind or not name:
            raise ValueError(f'"{text}" is not an address such as Worker/p-db-omaha-worker-01')
        return cls(kind, name)


class Position(NamedTuple):
    """A place in a file, counted from 1; columns in code points."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Metadata(Spec):
    """Who an object is, beside what it asks for."""

    name: Name = Field(description="Unique per kind in a space; lower-case letters, digits and hyphens.")
    display_name: Text | None = Field(None, description="What people read; any text.")
    labels: dict[Label, Text] = Field({}, description="Facts that steps select workers by.")
    annotations: dict[Label, Text] = Field({}, description="Notes for people and programs; nothing selects by them.")
    protect: bool = Field(
        False,
        description="Never removed by a plan. Remembered in the live state, so deleting the document does not lift it.",
    )
    renamed_from: Name | None = Field(None, description="The former name; keeps registration, thumbprint and history.")


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks a field that names another object, of `kind`."""

    kind: str


class Reference(NamedTuple):
    """One use of another object: the field that names it and what it names."""

    path: tuple[str | int, ...]
    target: Address
