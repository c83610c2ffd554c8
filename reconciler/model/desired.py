"""What Git says should be: declared objects with their positions, and the state they add up to."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position, Reference


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared object, complete without its file: what a parse cache keeps and a plan compares.

    `spec` and `metadata` are canonical JSON, `digest` covers both but not `renamedFrom`. `document` counts the
    documents of the file from 0; `item` is the place in a set that expands to several objects, else None.
    """

    address: Address
    spec: str
    metadata: str
    digest: str
    position: Position
    document: int = 0
    item: int | None = None
    references: tuple[Reference, ...] = ()
    protect: bool = False
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A space as one revision declares it, free of errors.

    `revision` is a commit, or `tree:` and the digest of a working tree where a file that Git has, or one that belongs to
    what is declared, is not as in HEAD.
    """

    name: str
    space: SpaceSpec
    objects: Mapping[Address, Declared]
    revision: str = ""
    complete: bool = True
    """False when something could not be loaded: then nothing is removed."""
