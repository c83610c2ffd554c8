"""Objects of documents that hold faults, and what files hide that could not be read: both take part in the checks."""

from dataclasses import dataclass

from reconciler.declare.gaps import Gaps
from reconciler.model.desired import Declared
from reconciler.model.spec import Address, Spec

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
    gaps: Gaps
    written: str = ""
    """The name as somebody wrote it, where it is none; empty where there is none."""

    @property
    def named(self) -> bool:
        """Is the object's name certain?"""
        return not self.gaps.open_at(("metadata", "name"))


@dataclass(frozen=True, slots=True)
class Hidden:
    """What may be declared where nothing could be read: anything of some kinds, or objects that are known by name."""

    kinds: frozenset[str] = frozenset()
    addresses: frozenset[Address] = frozenset()

    def __or__(self, other: "Hidden") -> "Hidden":
        """Return what either hides."""
        return Hidden(self.kinds | other.kinds, self.addresses | other.addresses)
