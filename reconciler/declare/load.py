"""A space from its files: find them, parse what changed, check it as a whole, and say everything that is wrong."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.declare.beside import Beside
from reconciler.declare.cache import ParseCache
from reconciler.declare.collector import without_collector
from reconciler.declare.contents import Contents
from reconciler.declare.files import files_of_objects
from reconciler.declare.globs import SPACE_FILE, matcher
from reconciler.declare.isolation import healthy
from reconciler.declare.nodes import Piece
from reconciler.declare.partial import Hidden, Partial
from reconciler.declare.previous import Previous
from reconciler.declare.sharing import File, hand_out
from reconciler.declare.source import Entry, Tree, blob_name, open_tree
from reconciler.declare.space import FieldPath, FileKind, Locate
from reconciler.model.desired import Declared, DesiredState
from reconciler.model.diagnostics import Diagnostic, Severity, Span
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address

if TYPE_CHECKING:
    from reconciler.declare.documents import Places

NONE_LIVE: Mapping[str, Collection[Address]] = {}
"""The files of a live state that is not known."""

EMPTIED = "emptied-file"
LOST_SHOWN = 3  # objects that a diagnostic names

PLACES_MAX = 64  # files kept as trees while their faults are located; some megabytes


SHOWN_MAX = 4 * 2**20  # bytes of a file that excerpts are taken from; larger ones are refused anyway


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a space declares; every diagnostic, in the order of the files.

    Where there are errors `desired` is None, or in an isolated space what is left of it without the faulty objects.
    """

    desired: DesiredState | None
    diagnostics: tuple[Diagnostic, ...]
    tree: Tree
    files: int
    foreign: int
    untracked: tuple[str, ...] = ()
    """The files for whose sake alone this is no commit: they belong to what is declared, and Git does not have them."""

    def read_source(self, file: str) -> str | None:
        """Return the text of a file, to show a diagnostic with; None where there is none."""
        return _source_text(self.tree, file)


def load(
    root: Path,
    *,
    rev: str | None = None,
    folder: str = "",
    cache: Path | ParseCache | None = None,
    live_paths: Mapping[str, Collection[Address]] = NONE_LIVE,
    opening: Beside[Tree] | None = None,
) -> Loaded:
    """Read and check the space at `root`, its files or a commit's; of a commit, `folder` alone.

    `cache` is a folder for what was parsed before, or what was opened there, to be used again and again; `live_paths` are the files that the live state's objects came
    from, with these; `opening` is the tree, where the caller had it opened beside something else. Of a commit that is loaded with
    an opened cache after another one, only that is read and gathered in which they differ. Raises UsageMistake, GitFailed
    and GitSlow as `open_tree` does; faults of the declarations are in the result.
    """
    with without_collector():
        before = cache.previous if isinstance(cache, ParseCache) and rev is not None else None
        listing = before.listing if before is not None else None
        opening = opening or Beside(
            lambda: open_tree(root, rev, folder, listing)
        )  # Git lists files while we read what we know of them
        known = cache if isinstance(cache, ParseCache) else ParseCache.open(cache)
        reading = _Reading(opening.result(), known, live_paths)
        settings = reading.read_space()
        reading.read_rest(settings)
        reading.cache.save()
        loaded = reading.loaded(settings)
        known.previous = reading.as_previous(folder)
        return loaded


class _Reading:
    """The files of one space while they are read."""

    def __init__(self, tree: Tree, cache: ParseCache, live_paths: Mapping[str, Collection[Address]]) -> None:
        self.cache = cache
        self._tree = tree
        self._before = _comparable(cache.previous, tree, live_paths)
        cache.previous = None  # until this one has been read: what it has gathered becomes ours
        self._live_paths = live_paths
        self._declared: dict[str, tuple[Declared, ...]] = {}
        self._problems: list[Diagnostic] = []
        self._partial: list[Partial] = []
        self._hidden = Hidden()
        self._foreign: dict[str, int] = {}
        self._lenient: set[str] = set()
        self._contents: Contents | None = None

    def read_space(self) -> SpaceSpec:
        """Read the space's own file and return its settings, the defaults where it has none."""
        if SPACE_FILE in self._tree.paths:
            self._read([SPACE_FILE])
        spaces = [found for found in self._declared.get(SPACE_FILE, ()) if found.address.kind == "Space"]
        if spaces:
            return SpaceSpec.parse(spaces[0].spec)
        faulty = [partial.spec for partial in self._partial if isinstance(partial.spec, SpaceSpec)]
        return faulty[0] if faulty else SpaceSpec.model_construct()

    def read_rest(self, settings: SpaceSpec) -> None:
        """Read every other file that the settings choose."""
        chosen = matcher(settings.include, settings.exclude)
        paths: Iterable[str] = self._tree.paths
        if self._before is not None:
            moved = self._tree.moved
            self.cache.keep(but=moved)
            self._declared = {path: found for path, found in self._before.declared.items() if path not in moved}
            self._foreign = {path: count for path, count in self._before.foreign.items() if path not in moved}
            self._lenient |= self._before.lenient - moved
            paths = sorted(moved & self._tree.paths.keys())
        self._read(path for path in paths if path != SPACE_FILE and chosen.match(path))

    def _read(self, paths: Iterable[str]) -> None:
        wanted = []
        for path in paths:
            entry = self._tree.paths[path]
            if fault := _refused(path, entry):
                self._problems.append(fault)
            elif not self._known(path, entry):
                wanted.append(path)
        files = (
            File(path, self._tree.paths[path].blob or blob_name(data), data)
            for path, data in self._tree.read_many(wanted)
        )
        shares = hand_out(files, len(wanted))
        for file in files:
            self._parse(file)
        for share in shares:
            self.cache.learn(share.rows())
            for file in share.files:
                self._parse(file)

    def _known(self, path: str, entry: Entry) -> bool:
        """Take a file from the cache, if its content is known to it."""
        return entry.blob is not None and self._take_cached(path, entry.blob)

    def _take_cached(self, path: str, blob: str) -> bool:
        found = self.cache.get(path, blob)
        if found is None:
            return False
        self._declared[path], foreign = found
        if foreign:
            self._foreign[path] = foreign
        return True

    def _parse(self, file: File) -> None:
        from reconciler.declare.documents import parse_file

        path, blob, data = file
        if self._take_cached(path, blob):
            return
        parsed = parse_file(path, data, known_to_live=path in self._live_paths)
        self._declared[path] = parsed.declared
        self._problems += parsed.diagnostics
        self._partial += parsed.partial
        self._hidden |= parsed.hidden
        if parsed.foreign:
            self._foreign[path] = parsed.foreign
        if parsed.is_lenient:
            self._lenient.add(path)
        elif not parsed.diagnostics:
            self.cache.put(path, blob, parsed.declared, parsed.foreign)

    def loaded(self, settings: SpaceSpec) -> Loaded:
        """Check the whole and return it."""
        self._find_emptied()
        contents = self._gathered()
        declared = contents.declared
        self._problems += self._of_the_whole(contents, settings)
        problems = tuple(sorted(self._problems, key=lambda problem: problem.sort_key))
        errors = any(problem.severity is Severity.ERROR for problem in problems)
        untracked = self._untracked(declared, problems)
        revision = self._tree.revision_of(untracked) or self._tree.revision
        desired: DesiredState | None
        if errors and settings.apply == "isolated":
            faulty = [partial.declared for partial in self._partial]
            desired = _desired(healthy(declared, problems, faulty), settings, revision, complete=False)
        else:
            desired = None if errors else _desired(contents.objects, settings, revision)
        return Loaded(desired, problems, self._tree, len(self._declared), sum(self._foreign.values()), untracked)

    def _find_emptied(self) -> None:
        """Find the files that live objects came from and in which nothing of ours is left: they were cut, or spoilt.

        What was moved to another file is not missed; who wants the objects to go deletes the file.
        """
        told = {problem.span.file for problem in self._problems}
        bare = {path for path, found in self._declared.items() if not found and path in self._live_paths}
        for path in sorted(bare - told):
            there = {found.address for declared in self._declared.values() for found in declared}
            if lost := sorted(set(self._live_paths[path]) - there, key=str):
                self._problems.append(emptied(path, lost))
                self._hidden |= Hidden(addresses=frozenset(lost))

    def _gathered(self) -> Contents:
        """Return the objects of all files, gathered anew only where they cannot be followed."""
        is_faulty = bool(self._problems)
        if self._before is not None and not is_faulty:
            contents = self._before.gather(self._declared, self._tree.moved)
        else:
            contents = Contents.of(found for path in sorted(self._declared) for found in self._declared[path])
        self._contents = None if is_faulty else contents
        return contents

    def as_previous(self, folder: str) -> Previous | None:
        """Return what the next commit can be loaded by; None where there is none, or its files hold faults."""
        listing = self._tree.listing(folder)
        if listing is None or self._contents is None:
            return None
        return Previous(listing, self._declared, self._foreign, self._contents, frozenset(self._lenient))

    def _of_the_whole(self, contents: Contents, settings: SpaceSpec) -> list[Diagnostic]:
        """Return what is wrong between objects; faulty ones take part with what is certain of them."""
        from reconciler.declare.resolve import resolve

        return resolve(
            contents, self._tree.kinds(), _locator(self._tree), settings, partial=self._partial, hidden=self._hidden
        )

    def _untracked(self, declared: Collection[Declared], problems: Iterable[Diagnostic]) -> tuple[str, ...]:
        """Return the files that matter and are not in Git, where no other file differs from the commit."""
        if not self._tree.untracked:
            return ()
        used = {*(found.position.file for found in declared), *files_of_objects(declared)}
        return tuple(sorted(self._tree.untracked & (used | {problem.span.file for problem in problems})))


def _comparable(previous: Previous | None, tree: Tree, live_paths: Mapping[str, object]) -> Previous | None:
    """Return what was loaded before where `tree` was opened after it, and the space is read as it was then."""
    if previous is None or tree.after is not previous.listing or SPACE_FILE in tree.moved:
        return None
    return previous if previous.lenient.isdisjoint(live_paths) else None


def _desired(
    objects: Mapping[Address, Declared], settings: SpaceSpec, revision: str, *, complete: bool = True
) -> DesiredState:
    name = next((address.name for address in objects if address.kind == "Space"), "default")
    return DesiredState(name, settings, objects, revision, complete)


def _locator(tree: Tree) -> Locate:
    @lru_cache(maxsize=PLACES_MAX)
    def places(file: str) -> "Places":
        from reconciler.declare.documents import Places  # here, for where nothing is wrong no place is looked for

        return Places(file, tree.read(file))

    def locate(declared: Declared, path: FieldPath, piece: Piece | None) -> Span:
        return places(declared.position.file).span(declared, path, piece=piece)

    return locate


def _refused(path: str, entry: Entry) -> Diagnostic | None:
    """Say why a chosen path is not read, or None where it is."""
    if entry.kind is not FileKind.FILE:
        what = "a symbolic link" if entry.kind is FileKind.LINK else "a submodule"
        remedy = "put the file itself here, or exclude the path in the Space"
        return Diagnostic(Span(path), Severity.ERROR, "link", f"{what} is never followed", remedy)
    if not path.isprintable():
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        message = "the path holds bytes that are not printable text"
        return Diagnostic(Span(shown), Severity.ERROR, "bad-path", message, "rename the file")
    return None


def emptied(path: str, lost: Sequence[Address]) -> Diagnostic:
    """Say what is missed from a file."""
    more = f" and {len(lost) - LOST_SHOWN} more" if len(lost) > LOST_SHOWN else ""
    named = f"{', '.join(map(str, lost[:LOST_SHOWN]))}{more}"
    verb = "was" if len(lost) == 1 else "were"
    message = f"{named} {verb} applied from this file, and no document of ours is left in it"
    remedy = f"bring {'it' if len(lost) == 1 else 'them'} back, or delete the file"
    return Diagnostic(Span(path), Severity.ERROR, EMPTIED, message, remedy)


@lru_cache(maxsize=16)  # diagnostics come file by file
def _source_text(tree: Tree, file: str) -> str | None:
    if file not in tree.paths:
        return None
    return tree.read(file)[:SHOWN_MAX].decode("utf-8", "replace")
