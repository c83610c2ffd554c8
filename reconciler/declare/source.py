"""Where declarations come from: a working tree, a commit, or a folder outside Git; the only I/O of this package."""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from reconciler.declare.git import BLOB_MAX, GitFailed, blobs, git
from reconciler.declare.names import commit_named
from reconciler.declare.space import FileKind
from reconciler.model.errors import UsageMistake

REMEMBERED_MAX = 32 * 2**20  # bytes of blobs kept for excerpts: a space of 10,000 files has 4 MB
ENTRIES_MAX = 1_000_000  # paths of a tree: far above the largest repository that is read in seconds

_KINDS = {"120000": FileKind.LINK, "160000": FileKind.SUBMODULE}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree; `blob` is Git's name for its content, None where a file differs from what Git holds."""

    kind: FileKind
    blob: str | None = None
    stored: bool = False
    """True where the content is only in Git: in a commit, or left out by a sparse checkout."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The paths of a commit's folder, as they were listed before."""

    root: Path
    folder: str
    commit: str
    paths: Mapping[str, Entry]


class Tree:
    """The paths of one state of a space, and their content."""

    def __init__(
        self,
        root: Path,
        paths: Mapping[str, Entry],
        head: str,
        *,
        committed: bool,
        first: Callable[[], str],
        untracked: Iterable[str] = (),
        after: Listing | None = None,
        moved: frozenset[str] = frozenset(),
    ) -> None:
        self.root = root
        self.paths = paths
        self._head = head
        self._committed = committed
        self._first = first
        self.untracked = frozenset(untracked if committed else ())
        """The files that Git does not have, where every other one is as in HEAD."""
        self.after = after
        """What it was compared with, where it was not listed as a whole; it differs from that in the paths of `moved`."""
        self.moved = moved
        self._remembered: dict[str, bytes] = {}
        self._room = REMEMBERED_MAX

    @cached_property
    def revision(self) -> str:
        """The commit, or `tree:` and a digest where the files differ from HEAD or are outside Git.

        The digest covers path, kind and content of every file.
        """
        return self.revision_of(self.untracked) or f"tree:{self._digest()}"

    def revision_of(self, files: Collection[str]) -> str:
        """Return the commit that has all these files as they are here; empty where there is none."""
        return self._head if self._committed and self.untracked.isdisjoint(files) else ""

    @cached_property
    def first_commit(self) -> str:
        """The commit that the history began with, which all clones share; empty outside Git."""
        return self._first() if self._head else ""

    def with_first_commit(self) -> Self:
        """Ask Git for the first commit now, where somebody waits for Git anyway, and return this tree."""
        _ = self.first_commit
        return self

    def is_link(self, path: str) -> bool:
        """Say whether a path is a symbolic link or a submodule, which are never followed."""
        return path in self.paths and self.paths[path].kind is not FileKind.FILE

    def edited(self, contents: Mapping[str, bytes]) -> "Tree":
        """Return this tree with other content in some of its files; nothing is written."""
        entries = {path: Entry(FileKind.FILE, blob_name(content), stored=True) for path, content in contents.items()}
        tree = Tree(self.root, {**self.paths, **entries}, self._head, committed=False, first=self._first)
        tree._remembered.update(contents)
        return tree

    def kinds(self) -> Mapping[str, FileKind]:
        """Return what each path is."""
        return _Kinds(self.paths)

    def listing(self, folder: str) -> Listing | None:
        """Return the paths of a commit, to open another one after; None of files, which may become others unseen."""
        return Listing(self.root, folder, self._head, self.paths) if self._committed and not self.untracked else None

    def read(self, path: str) -> bytes:
        """Return the content of a file, cut after BLOB_MAX bytes; empty where it vanished meanwhile.

        Raises KeyError for a path that is not in the tree.
        """
        if path in self._remembered:
            return self._remembered[path]
        return next((content for _, content in self.read_many([path])), b"")

    def read_many(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of each file; what vanished meanwhile is left out."""
        stored = []
        for path in paths:
            entry = self.paths[path]
            if path in self._remembered:
                yield path, self._remembered[path]
            elif entry.stored:
                stored.append((path, entry.blob))
            elif (content := self._content(path)) is not None:
                yield path, content
        names = [blob for _, blob in stored if blob is not None]
        if names:
            for (path, _), content in zip(stored, blobs(self.root, names), strict=True):
                self._remember(path, content)
                yield path, content

    def _remember(self, path: str, content: bytes) -> None:
        """Keep a blob's content while there is room: asking Git once more takes a process."""
        if len(content) <= self._room and path not in self._remembered:
            self._room -= len(content)
            self._remembered[path] = content

    def _content(self, path: str) -> bytes | None:
        """Read a regular file without following a link; a link put there meanwhile counts as vanished."""
        try:
            number = os.open(f"{self.root}/{path}", _READ)
        except OSError:
            return None
        try:
            found = os.fstat(number)
            return _all_of(number, min(found.st_size, BLOB_MAX)) if stat.S_ISREG(found.st_mode) else None
        finally:
            os.close(number)

    def _digest(self) -> str:
        whole = hashlib.sha256()
        for path in sorted(self.paths):
            entry = self.paths[path]
            content = entry.blob or blob_name((self._content(path) or b"") if entry.kind is FileKind.FILE else b"")
            whole.update(f"{entry.kind} {content} {path}\0".encode(errors="surrogateescape"))
        return whole.hexdigest()


class _Kinds(Mapping[str, FileKind]):
    """What each path of a tree is: few are asked for."""

    def __init__(self, paths: Mapping[str, Entry]) -> None:
        self._paths = paths

    def __getitem__(self, path: str) -> FileKind:
        return self._paths[path].kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _all_of(number: int, size: int) -> bytes:
    """Read `size` bytes, fewer where the file ends before."""
    content = os.read(number, size)
    while len(content) < size and (more := os.read(number, size - len(content))):
        content += more
    return content


def blob_name(content: bytes) -> str:
    """Return the name that Git gives to a file's content."""
    name = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    name.update(content)
    return name.hexdigest()


def open_tree(root: Path, rev: str | None = None, folder: str = "", after: Listing | None = None) -> Tree:
    """Return the tree of `root`: its files, or a commit's where `rev` names one; of that, `folder` alone.

    A commit's is made of what it differs in from the one that was listed before, where `after` is that of this folder.
    Raises UsageMistake where there is no such folder or commit, GitFailed and GitSlow where Git cannot answer.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageMistake(f"{root} is not a folder", "name a folder with -C")
    if rev is not None:
        return _commit_tree(root, rev, folder, after)
    if not _inside_git(root):
        return Tree(root, dict(_walked(root)), head="", committed=False, first=str)
    return _working_tree(root)


def _inside_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def _commit_tree(root: Path, rev: str, folder: str, after: Listing | None) -> Tree:
    commit = commit_named(root, rev)
    if commit is None:
        raise UsageMistake(f'"{rev}" is not a commit of the repository at {root}', "git log shows them")
    if after is not None and (after.root, after.folder) == (root, folder) and (tree := _tree_after(commit, after)):
        return tree
    try:
        paths = dict(_listed(git(root, "ls-tree", "-r", "-z", f"{commit}:{folder}" if folder else commit)))
    except GitFailed as error:
        if not folder:
            raise
        raise UsageMistake(f'there is no folder "{folder}" in the commit {commit[:12]}') from error
    return Tree(root, paths, commit, committed=True, first=lambda: _first_commit(root, commit))


def _tree_after(commit: str, before: Listing) -> Tree | None:
    """Return the tree of a commit by what it differs in from another one; None where Git does not tell."""
    root, folder = before.root, before.folder
    trees = [f"{each}:{folder}" if folder else each for each in (before.commit, commit)]
    options = ("-r", "-z", "--raw", "--no-abbrev", "--relative", "--no-renames", "--ignore-submodules=none")
    try:
        records = _records(git(root, "diff-tree", *options, "--end-of-options", *trees))
    except GitFailed:
        return None  # what was listed before is gone from here
    paths = dict(before.paths)
    for facts, path in zip(records[::2], records[1::2], strict=True):
        _, mode, _, name, status = facts.split(" ")
        if status == "D":
            del paths[path]
        else:
            paths[path] = Entry(_kind(mode), name, stored=True)
    if paths.keys() - before.paths.keys():  # in the order in which Git lists them
        paths = dict(sorted(paths.items(), key=lambda item: item[0].encode(errors="surrogateescape")))
    first = partial(_first_commit, root, commit)
    return Tree(root, paths, commit, committed=True, first=first, after=before, moved=frozenset(records[1::2]))


def _listed(output: bytes) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of `ls-tree -z`: mode, type and name, a tab, the path."""
    for line in _records(output):
        facts, _, path = line.partition("\t")
        mode, _, name = facts.split(" ")
        yield path, Entry(_kind(mode), name, stored=True)


def _working_tree(root: Path) -> Tree:
    flags = ("-z", "-c", "-o", "-m", "-d", "-v", "--stage", "--exclude-standard")
    records = _records(git(root, "ls-files", *flags))
    paths = _indexed(records, root)
    try:
        head = git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
    except GitFailed:
        return Tree(root, paths, head="", committed=False, first=str)
    untracked = [line[2:].rstrip("/") for line in records if line[0] == "?"]
    clean = all(line[0] in {"H", "S", "?"} for line in records)
    same = clean and not git(root, "diff-index", "--cached", "--name-only", "-z", head, "--", ".")
    return Tree(root, paths, head, committed=same, first=lambda: _first_commit(root, head), untracked=untracked)


def _indexed(records: Iterable[str], root: Path) -> dict[str, Entry]:
    """Read `ls-files -v --stage`: a status, mode, blob, stage, a tab, the path; or `? ` and an untracked path.

    A path stands there once more for each thing that is wrong with it: changed (C), removed (R), unmerged (M).
    """
    paths: dict[str, Entry] = {}
    for line in records:
        status, rest = line[0], line[2:]
        if status == "?":
            paths[rest.rstrip("/")] = Entry(_kind_on_disk(root, rest))
            continue
        facts, _, path = rest.partition("\t")
        mode, name, _ = facts.split(" ")
        match status:
            case "H":
                paths[path] = Entry(_kind(mode), name)
            case "S":  # left out by a sparse checkout: Git alone has it
                paths[path] = Entry(_kind(mode), name, stored=True)
            case "R":
                paths.pop(path, None)
            case "C" if path in paths and mode == "160000":
                paths[path] = Entry(FileKind.SUBMODULE)
            case "C" if path not in paths:
                continue  # removed: listed as R before
            case _:  # changed, unmerged, or assumed unchanged, which proves nothing
                paths[path] = Entry(_kind_on_disk(root, path))
    return paths


def _records(output: bytes) -> list[str]:
    """Split at NUL; a path that is not UTF-8 keeps its bytes as surrogates. Raises UsageMistake for too many."""
    if output.count(b"\0") > ENTRIES_MAX:
        raise UsageMistake(f"more than {ENTRIES_MAX:,} files are listed", "make a folder of the repository the space")
    return output.decode(errors="surrogateescape").split("\0")[:-1]


def _kind(mode: str) -> FileKind:
    return _KINDS.get(mode, FileKind.FILE)


def _kind_on_disk(root: Path, path: str) -> FileKind:
    if path.endswith("/"):
        return FileKind.SUBMODULE  # a repository inside this one
    try:
        mode = os.lstat(f"{root}/{path}").st_mode
    except OSError:
        return FileKind.FILE
    return FileKind.LINK if stat.S_ISLNK(mode) else FileKind.FILE


def _first_commit(root: Path, commit: str) -> str:
    roots = git(root, "rev-list", "--max-parents=0", "--first-parent", commit, "--").decode().split()
    return roots[-1] if roots else ""


def _walked(root: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the files of a folder outside Git; hidden folders and what is no file are left out."""
    for folder, names, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else f"{inside}/"
        links = [name for name in names if os.path.islink(f"{folder}/{name}")]
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files + links):
            mode = os.lstat(f"{folder}/{name}").st_mode
            if stat.S_ISLNK(mode):
                yield prefix + name, Entry(FileKind.LINK)
            elif stat.S_ISREG(mode):
                yield prefix + name, Entry(FileKind.FILE)
