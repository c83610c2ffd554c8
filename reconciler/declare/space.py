"""A space as the checks between objects see it: its objects, its files, and where each field stands."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from reconciler.declare.contents import Contents, Tally
from reconciler.declare.gaps import FieldPath as PartialPath
from reconciler.declare.nodes import Piece
from reconciler.declare.partial import Hidden, Partial, is_stand_in
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Severity, Span, did_you_mean
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Spec
from reconciler.model.text import slug

Kind = TypeVar("Kind", bound=Spec)
Answer = TypeVar("Answer")
COMPARED_MAX = 200_000  # words that suggestions are looked for among: two seconds, and nobody reads so many
Place = tuple[str, int, int]
NOTHING_HIDDEN = Hidden()
STEP_KEYS: tuple[PartialPath, ...] = (("spec", "process", None, "id"), ("spec", "process", None, "name"))
"""What says which steps a process has."""
GROUPED_STEP_KEYS: tuple[PartialPath, ...] = tuple(
    ("spec", "process", None, "group", "steps", None, name) for name in ("id", "name")
)
"""What says which steps its groups have."""
VARIABLE_NAMES: PartialPath = ("spec", "variables", None, "name")
"""What says which variables an object declares."""
FieldPath = tuple[str | int, ...]
Locate = Callable[[Declared, FieldPath, Piece | None], Span]


class FileKind(StrEnum):
    """What a path of the repository is."""

    FILE = "file"
    LINK = "link"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True)
class Space:
    """All that the checks look at: the objects of a space, its files and where each field stands.

    `declared` are all objects in the order of their files, `objects` the first of each address. Some may be partial:
    from what those do not show nothing may be concluded, which `open_at`, `lacks` and `may_hold` tell.
    """

    declared: tuple[Declared, ...]
    objects: Mapping[Address, Declared]
    paths: Mapping[str, FileKind]
    locator: Locate
    settings: SpaceSpec
    tally: Tally
    partial: Mapping[Place, Partial] = field(default_factory=dict)
    hidden: Hidden = NOTHING_HIDDEN
    nameless: Mapping[str, set[str]] = field(default_factory=dict)
    """Of each kind whose objects have no certain names, what is written there."""
    _kinds: Mapping[str, list[Declared]] = field(default_factory=dict)
    _parsed: dict[tuple[str, str], Spec] = field(default_factory=dict)
    _compared: list[int] = field(default_factory=lambda: [0])
    _answers: dict[Callable[["Space"], Any], Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        contents: Contents,
        paths: Mapping[str, FileKind],
        locate: Locate,
        settings: SpaceSpec,
        *,
        partial: Iterable[Partial] = (),
        hidden: Hidden = NOTHING_HIDDEN,
    ) -> "Space":
        """Return the space of all objects, complete and partial ones."""
        faulty = {place_of(found.declared): found for found in partial}
        if faulty:
            found_all = (*contents.declared, *(found.declared for found in faulty.values()))
            contents = Contents.of(sorted(found_all, key=place_of))
        nameless: dict[str, set[str]] = {}
        for found in faulty.values():
            if not found.named:
                nameless.setdefault(found.declared.address.kind, set()).add(slug(found.written))
        return cls(
            *(contents.declared, contents.objects, paths, locate, settings, contents.tally),
            partial=faulty,
            hidden=hidden,
            nameless=nameless,
            _kinds=contents.kinds,
        )

    def kinds(self) -> set[str]:
        """Return the kinds of which there are objects."""
        return set(self._kinds)

    def of_kind(self, kind: str) -> Iterator[Declared]:
        """Yield the objects of one kind, in the order of their files."""
        return iter(self._kinds.get(kind, ()))

    def names(self, kind: str) -> set[str]:
        """Return the names of one kind, as far as they are certain."""
        return {found.address.name for found in self.of_kind(kind) if not is_stand_in(found.address.name)}

    def spec(self, declared: Declared, model: type[Kind]) -> Kind:
        """Return the spec of an object; of a partial one what is certain of it."""
        faulty = self.partial.get(place_of(declared)) if self.partial else None
        key = (declared.address.kind, declared.digest)
        found = faulty.spec if faulty else self._parsed.get(key)
        if found is None:
            found = self._parsed[key] = model.parse(declared.spec)
        assert isinstance(found, model)
        return found

    def suggestion(self, given: str, known: Collection[str]) -> str:
        """Return `; did you mean "…"?`, as long as so many words as COMPARED_MAX were compared."""
        return did_you_mean(given, known) if self.may_compare(len(known)) else ""

    def may_compare(self, words: int) -> bool:
        """Say whether a suggestion may still be looked for among so many words, and count them."""
        self._compared[0] += words
        return self._compared[0] <= COMPARED_MAX

    def once(self, ask: Callable[["Space"], Answer]) -> Answer:
        """Return what a question about the whole space is answered, and remember it."""
        if ask not in self._answers:
            self._answers[ask] = ask(self)
        answer: Answer = self._answers[ask]
        return answer

    def is_faulty(self, declared: Declared) -> bool:
        """Say whether an object is partial; that may be for a fault which leaves nothing uncertain."""
        return bool(self.partial) and place_of(declared) in self.partial

    def open_at(self, declared: Declared, *paths: PartialPath) -> bool:
        """Say whether something at one of `paths` of an object, above or below it, is not certain."""
        faulty = self.partial.get(place_of(declared)) if self.partial else None
        return faulty is not None and any(faulty.gaps.open_at(path) for path in paths)

    def lacks(self, declared: Declared, *paths: PartialPath) -> bool:
        """Say whether what stands at one of `paths` of an object is not certain as a whole."""
        faulty = self.partial.get(place_of(declared)) if self.partial else None
        return faulty is not None and any(faulty.gaps.lacks(path) for path in paths)

    def may_hold(self, address: Address) -> bool:
        """Say whether an object is declared, or may be where something could not be read."""
        if address in self.objects or address in self.hidden.addresses or address.kind in self.hidden.kinds:
            return True
        return not self.nameless.get(address.kind, set()).isdisjoint({"", address.name})

    def hides(self, kind: str) -> bool:
        """Say whether there may be objects of a kind where something could not be read."""
        return kind in self.hidden.kinds or any(address.kind == kind for address in self.hidden.addresses)

    def any_lacks(self, kind: str, *paths: PartialPath) -> bool:
        """Say whether any object of a kind, seen or hidden, is not certain at one of `paths`."""
        return self.hides(kind) or (
            bool(self.partial) and any(self.lacks(found, *paths) for found in self.of_kind(kind))
        )

    @staticmethod
    def root(declared: Declared) -> FieldPath:
        """Return where the spec of an object stands in its document."""
        return ("spec",) if declared.item is None else ("spec", "workers", declared.item)

    @staticmethod
    def name(declared: Declared) -> FieldPath:
        """Return where the name of an object stands in its document."""
        return ("metadata", "name") if declared.item is None else ("spec", "workers", declared.item, "name")

    def locate(self, declared: Declared, path: FieldPath, piece: Piece | None = None) -> Span:
        """Return the place of a field of an object, or of a piece of its text."""
        return self.locator(declared, path, piece)

    def error(
        self,
        declared: Declared,
        path: FieldPath,
        code: str,
        message: str,
        help_text: str = "",
        *,
        piece: Piece | None = None,
    ) -> Diagnostic:
        """Make an error at a field of an object, or at a piece of its text."""
        return Diagnostic(self.locate(declared, path, piece), Severity.ERROR, code, message, help_text)

    def warning(
        self, declared: Declared, path: FieldPath, code: str, message: str, *, piece: Piece | None = None
    ) -> Diagnostic:
        """Make a warning at a field of an object, or at a piece of its text."""
        return Diagnostic(self.locate(declared, path, piece), Severity.WARNING, code, message)


def place_of(declared: Declared) -> Place:
    """Return file, document and entry of an object, which tell it from all others of its space."""
    return declared.position.file, declared.document, -1 if declared.item is None else declared.item
