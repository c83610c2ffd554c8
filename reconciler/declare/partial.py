"""Objects of documents that hold faults, and what files hide that could not be read: both take part in the checks."""

from dataclasses import dataclass

from reconciler.declare.shapes import Path
from reconciler.model.desired import Declared
from reconciler.model.spec import Address, Spec

FieldPath = tuple[str | int | None, ...]
"""Where a field stands; None is every index or key there."""

STAND_IN = "unknown-to-the-checks-"
STAND_IN_WORD = "Unknown_to_the_checks_"


def names_stand_in(sentence: str) -> bool:
    """Say whether a sentence speaks of what was put in: then it says nothing of what people wrote."""
    return STAND_IN in sentence or STAND_IN_WORD in sentence


def is_stand_in(text: str) -> bool:
    """Say whether a text was put in where nothing certain stands."""
    return text.startswith((STAND_IN, STAND_IN_WORD))


@dataclass(frozen=True, slots=True)
class Partial:
    """What is certain of a faulty object: its outline, never to be applied, and the paths at which it says nothing.

    Paths begin with "spec" or "metadata", as in the document; for a worker of a set they are those of the Worker.
    """

    declared: Declared
    spec: Spec
    gaps: frozenset[Path] = frozenset()
    written: str = ""
    """The name as somebody wrote it, where it is none; empty where there is none."""

    @property
    def named(self) -> bool:
        """Is the object's name certain?"""
        return not self.open_at(("metadata", "name"))

    def open_at(self, path: FieldPath) -> bool:
        """Say whether something at `path`, above or below it is not certain; None in a path is every index or key."""
        return any(_agree(gap, path) for gap in self.gaps)

    def lacks(self, path: FieldPath) -> bool:
        """Say whether what stands at `path` is not certain as a whole; None as in `open_at`."""
        return any(len(gap) <= len(path) and _agree(gap, path) for gap in self.gaps)


def _agree(gap: Path, path: FieldPath) -> bool:
    return all(asked is None or asked == element for element, asked in zip(gap, path, strict=False))


@dataclass(frozen=True, slots=True)
class Hidden:
    """What may be declared where nothing could be read: anything of some kinds, or objects that are known by name."""

    kinds: frozenset[str] = frozenset()
    addresses: frozenset[Address] = frozenset()

    def __or__(self, other: "Hidden") -> "Hidden":
        """Return what either hides."""
        return Hidden(self.kinds | other.kinds, self.addresses | other.addresses)
