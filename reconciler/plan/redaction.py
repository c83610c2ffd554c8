"""Which values of live objects a plan never shows, and how they are told apart all the same: by salted digests.

A path is that of `differences`: dotted, in YAML's names, `*` for any name, and what lies below a path belongs to it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Self, cast

from pydantic import JsonValue

from reconciler.model.spec import canonical_json

SHOWN_INSTEAD = "(not shown)"
"""What a plan shows for the former value of such a field, with a snapshot and without."""

MARK = "redacted:"
"""What a digest that stands for a value begins with."""

_VARIABLES = ("variables.*.value", "variables.*.values.*.value")
_STEP = ("env.*", "template.with.*")
_STEPS = tuple(f"{step}.{path}" for step in ("process.*", "process.*.group.steps.*") for path in _STEP)
_MACHINE = (
    "endpoint.listening.host",
    "endpoint.ssh.host",
    "endpoint.ssh.hostKey",
    "endpoint.ssh.jump",
)

EVERY_KIND = "*"

FIELDS: Mapping[str, tuple[str, ...]] = {
    EVERY_KIND: ("metadata.annotations.*",),
    "Account": ("aws", "azure", "gcp", "sshKey", "token", "usernamePassword"),
    "Certificate": ("privateKey",),
    "Deployment": ("variables.*",),
    "DeploymentTarget": (
        *_MACHINE,
        "endpoint.azureWebApp.name",
        "endpoint.azureWebApp.resourceGroup",
        "endpoint.kubernetes.url",
    ),
    "PackageFeed": ("directory", "github", "http", "maven", "nuget", "oci", "pypi", "s3"),
    "Project": (*_VARIABLES, *_STEPS),
    "Proxy": ("url",),
    "Runbook": _STEPS,
    "RunbookRun": ("variables.*",),
    "StepTemplate": ("action.env.*", "parameters.*.default"),
    "Tenant": _VARIABLES,
    "VariableSet": _VARIABLES,
    "Worker": (*_MACHINE, "capabilities.*"),
    "WorkerPool": ("dynamic.provider.*.*",),
}
"""What is redacted, by kind; everything else travels as it was declared."""


@dataclass(frozen=True, slots=True)
class Veil:
    """What is redacted at and below one place of an object; without places below, all of it."""

    below: Mapping[str, "Veil"] = field(default_factory=dict)

    @property
    def covers(self) -> bool:
        """Is the value here redacted as a whole?"""
        return not self.below

    def inner(self, key: str) -> "Veil | None":
        """Return what is redacted below `key`; None where nothing is."""
        return self.below.get(key) or self.below.get("*")


@cache
def veil_of(kind: str) -> Veil:
    """Return what is redacted of objects of a kind, with their metadata under `metadata`."""
    return _woven([path.split(".") for path in (*FIELDS[EVERY_KIND], *FIELDS.get(kind, ()))])


def _woven(paths: Iterable[list[str]]) -> Veil:
    found: dict[str, list[list[str]]] = {}
    for first, *rest in paths:
        found.setdefault(first, []).append(rest)
    return Veil({key: _woven(rests) if all(rests) else Veil() for key, rests in found.items()})


def blotted(value: JsonValue, veil: Veil | None) -> JsonValue:
    """Return a value as a plan shows it, where it was and is to be no more."""
    if veil is None:
        return value
    if veil.covers:
        return SHOWN_INSTEAD
    match value:
        case dict():
            return {key: blotted(item, veil.inner(key)) for key, item in value.items()}
        case list():
            return [blotted(item, veil.inner(_key_of(item))) for item in value]
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Salted:
    """Digests under one salt: equal for equal values, and for a salt of one's own equal to nobody else's."""

    salt: str

    def mark(self, value: JsonValue) -> str:
        """Return what stands for a value; of a text with a slash also what stands for the part before it.

        References to objects are written `name/…` at times, and a plan has to see who still names what leaves.
        """
        head = value.partition("/")[0] if isinstance(value, str) else value
        return MARK + self._digest(value) + (f":{self._digest(head)}" if head != value else "")

    def redacted(self, value: JsonValue, veil: Veil | None) -> JsonValue:
        """Return a value with marks for all that its veil covers; names of fields and their number stay."""
        if veil is None:
            return value
        match value:
            case dict():
                return {key: self.redacted(item, _below(veil, key)) for key, item in value.items()}
            case list():
                return [self.redacted(item, _below(veil, _key_of(item))) for item in value]
            case _:
                return self.mark(value) if veil.covers else value

    def _digest(self, value: JsonValue) -> str:
        return hashlib.sha256(f"{self.salt}\0{canonical_json(value)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Revealing:
    """Puts back what is known: values that are declared still, and names of objects."""

    salted: Salted
    names: Mapping[str, str]
    """Names of objects by the digest of each."""

    @classmethod
    def of(cls, salted: Salted, names: Iterable[str]) -> Self:
        """Know the names of objects."""
        return cls(salted, {salted.mark(name).removeprefix(MARK): name for name in names})

    def revealed(self, value: JsonValue, declared: JsonValue, veil: Veil | None) -> JsonValue:
        """Return a redacted value with what is declared at the same place wherever it is the same."""
        if veil is None:
            return value
        match value:
            case dict():
                known = declared if isinstance(declared, dict) else {}
                return {key: self.revealed(item, known.get(key), _below(veil, key)) for key, item in value.items()}
            case list():
                return [
                    self.revealed(item, other, _below(veil, _key_of(item)))
                    for item, other in zip(value, _beside(value, declared), strict=True)
                ]
            case str() if veil.covers:
                return declared if self.salted.mark(declared) == value else self._named(value)
            case _:
                return value

    def _named(self, mark: str) -> str:
        """Return a mark, with the name of the object before it that its value names."""
        whole, _, head = mark.removeprefix(MARK).partition(":")
        name = self.names.get(head or whole)
        return mark if name is None else f"{name}/{mark}"


def _below(veil: Veil, key: str) -> Veil | None:
    return veil if veil.covers else veil.inner(key)


def _key_of(item: JsonValue) -> str:
    return str(item.get("name", "")) if isinstance(item, dict) else ""


def _beside(items: list[JsonValue], declared: JsonValue) -> list[JsonValue]:
    """Return what is declared for each item: of the same name where items have names, else at the same place."""
    others = declared if isinstance(declared, list) else []
    by_name = {_key_of(item): item for item in others}
    beside = [*others[: len(items)], *[cast(JsonValue, None)] * (len(items) - len(others))]
    return [by_name.get(_key_of(item)) if _key_of(item) else other for item, other in zip(items, beside, strict=True)]
