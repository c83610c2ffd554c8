"""A space as the checks between objects see it: its objects, its files, and where each field stands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity, Span
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address

FieldPath = tuple[str | int, ...]
Locate = Callable[[Declared, FieldPath], Span]


class FileKind(StrEnum):
    """What a path of the repository is."""

    FILE = "file"
    LINK = "link"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True)
class Space:
    """All that the checks look at: the objects of a space, its files and where each field stands."""

    objects: Mapping[Address, Declared]
    paths: Mapping[str, FileKind]
    locate: Locate
    settings: SpaceSpec

    def of_kind(self, kind: str) -> Iterator[Declared]:
        """Yield the objects of one kind, in the order of their files."""
        return (found for address, found in self.objects.items() if address.kind == kind)

    def names(self, kind: str) -> set[str]:
        """Return the names of one kind."""
        return {address.name for address in self.objects if address.kind == kind}

    def error(self, declared: Declared, path: FieldPath, code: str, message: str, help_text: str = "") -> Diagnostic:
        """Make an error at a field of an object."""
        return Diagnostic(self.locate(declared, path), Severity.ERROR, code, message, help_text)

    def warning(self, declared: Declared, path: FieldPath, code: str, message: str) -> Diagnostic:
        """Make a warning at a field of an object."""
        return Diagnostic(self.locate(declared, path), Severity.WARNING, code, message)

    def start(self, declared: Declared) -> Related:
        """Point at where an object is declared."""
        return Related(self.locate(declared, ("metadata", "name")), f"{declared.address} is declared here")
