"""Declare something else of an object, in Git: what the file becomes, checked as a whole before anything is written."""

import json
import os
import random
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

from reconciler.declare.beside import Beside
from reconciler.declare.editing import Assigned, edited
from reconciler.declare.enrolled import Enrolled, changed_identity, place_of_new
from reconciler.declare.git import Terms
from reconciler.declare.load import Loaded, load
from reconciler.declare.source import Tree, open_tree
from reconciler.model.desired import Declared, DesiredState
from reconciler.model.diagnostics import Severity, did_you_mean
from reconciler.model.errors import Conflict, Invalid, UsageMistake
from reconciler.model.spec import Address
from reconciler.server.forge.commits import (
    NEW_MODE,
    Checkout,
    Credit,
    PushRefused,
    fetched,
    is_ancestor,
    pushed,
    write_commit,
)

PUSHES_MAX = 5
"""Times that a commit is put on top of what the remote holds; so often in a row it moves only by a mishap."""

PAUSE_MAX = 0.2
"""Seconds before the second push at most; they double each time, and any part of them is waited."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be declared of an object from now on."""

    address: Address
    assigned: tuple[Assigned, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A worker that shall be declared as its agent is; `file` is for one that is not declared yet."""

    enrolled: Enrolled
    file: str | None = None

    @property
    def address(self) -> Address:
        """The worker."""
        return self.enrolled.address


class Faulty(Invalid):
    """The declarations hold errors, as they are or as they would become; `loaded` has the diagnostics."""

    def __init__(self, loaded: Loaded, would: bool) -> None:
        count = sum(item.severity is Severity.ERROR for item in loaded.diagnostics)
        errors = f"{count} error{'s' if count != 1 else ''}"
        if would:
            super().__init__(f"the declarations would hold {errors} with this change; nothing was changed")
        else:
            super().__init__(
                f"{errors} in the declarations; nothing was changed", "mend them, then run the command again"
            )
        self.loaded = loaded


class PushedOut(Conflict):
    """Others push more quickly than we do; `patch` is what could not be pushed."""

    def __init__(self, remote: str, patch: str) -> None:
        super().__init__(
            f"{remote} moved on {PUSHES_MAX} times while this was pushed; nothing was changed", "run the command again"
        )
        self.patch = patch


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file of a space as it is, None where it is not there, and as it would be.

    `position` says where the object stands, `folder` the space; `former` is the object as it is declared.
    """

    file: str
    before: bytes | None
    after: bytes
    position: str
    folder: str = ""
    former: Declared | None = None

    @property
    def differs(self) -> bool:
        """Is there anything to write?"""
        return self.before != self.after

    @property
    def patch(self) -> str:
        """Return the change as `git apply` takes it."""
        if not self.differs:
            return ""
        path = f"{self.folder}/{self.file}" if self.folder else self.file
        former, later = _quoted(f"a/{path}"), _quoted(f"b/{path}")
        head = f"diff --git {former} {later}\n"
        if self.before is None:
            head, former = f"{head}new file mode {NEW_MODE}\n", "/dev/null"
        lines = unified_diff(_lines(self.before or b""), _lines(self.after), former, later)
        return head + "".join(map(_patch_line, lines))


@dataclass(frozen=True, slots=True)
class Published:
    """What a remote has now: the commit on top of `base`, or None where the remote declared it already."""

    base: str
    commit: str | None
    rewritten: Rewritten


def rewritten(
    tree: Tree, wish: Wish | Declaration, *, folder: str = "", where: str = "", cache: Path | None = None
) -> Rewritten:
    """Return what the file of an object becomes, and write nothing; the whole space is checked with it.

    Raises UsageMistake where a wish is for an object that is not declared, or a worker's file cannot be a new one;
    NotEditable, and Faulty.
    """
    desired = _desired(tree, cache)
    found = desired.objects.get(wish.address)
    if isinstance(wish, Declaration) and found is None:
        workers = [known for address, known in desired.objects.items() if address.kind == "Worker"]
        file = place_of_new(wish.enrolled, tree, desired.space, workers, wish.file)
        change = Rewritten(file, None, wish.enrolled.content, file, folder)
    elif found is None:
        names = [known.name for known in desired.objects if known.kind == wish.address.kind]
        raise UsageMistake(f"{wish.address} is not declared{where}{did_you_mean(wish.address.name, names)}")
    else:
        file = found.position.file
        before = tree.read(file)
        after = edited(file, before, wish.address, _missing(wish, found))
        change = Rewritten(file, before, after, f"{file}:{found.position.line}", folder, found)
    if change.differs:
        loaded = load(tree.root, opening=Beside(lambda: tree.edited({file: change.after})), cache=cache)
        if loaded.desired is None or wish.address not in loaded.desired.objects:
            raise Faulty(loaded, would=True)
    return change


def _desired(tree: Tree, cache: Path | None) -> DesiredState:
    loaded = load(tree.root, opening=Beside(lambda: tree), cache=cache)
    if loaded.desired is None:
        raise Faulty(loaded, would=False)
    return loaded.desired


def _missing(wish: Wish | Declaration, found: Declared) -> tuple[Assigned, ...]:
    """Return what of a wish is not declared yet."""
    if isinstance(wish, Declaration):
        return changed_identity(wish.enrolled, found)
    spec: dict[str, Any] = json.loads(found.spec)
    return tuple(one for one in wish.assigned if _at(spec, one) != one.value)


def write(root: Path, change: Rewritten) -> None:
    """Write a file as a whole, its mode kept; raises Conflict where it has changed, or has come, meanwhile."""
    path = root / change.file
    if change.before is None:
        _refuse_link(root, change)
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o666 & ~_umask()
    else:
        mode = path.stat().st_mode & 0o7777
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as prepared:
            os.fchmod(number, mode)
            prepared.write(change.after)
            prepared.flush()
            os.fsync(number)
        if change.before is None:
            path.hardlink_to(name)  # unlike a rename it never takes the place of another file
        elif path.read_bytes() != change.before:
            raise Conflict(f"{change.file} was changed meanwhile; nothing was written", "run the command again")
        else:
            Path(name).replace(path)
    except FileExistsError:
        raise Conflict(
            f"{change.file} is there already; nothing was written", "name another file with --file, or remove it"
        ) from None
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def commit(
    checkout: Checkout, root: Path, wish: Wish | Declaration, *, credit: Credit, cache: Path | None = None
) -> Published:
    """Commit a wish to the branch that is checked out, and that file alone; file, index and branch follow in this order.

    A command that was killed in between is finished by the same command again. Raises what `rewritten` does, and
    UsageMistake where the file has other changes.
    """
    here, there, _ = _both(checkout, root, wish, cache)
    if not there.differs:
        return Published(checkout.head, None, there)
    path = checkout.path(there.file)
    made = write_commit(checkout.top, checkout.head, path, there.after, credit)
    _settle(checkout, root, here, made)
    return Published(checkout.head, made, there)


def publish(
    repository: Path,
    folder: str,
    remote: tuple[str, str],
    wish: Wish | Declaration,
    *,
    credit: Credit,
    terms: Terms,
    ours: str | None = None,
    cache: Path | None = None,
) -> Published:
    """Put a wish as one commit on top of a remote's branch, and push it; neither checkout nor branch here changes.

    `remote` is its name and the branch there, `refs/heads/…`; `folder` is the space's in the repository, which may be
    bare. Where the branch moves meanwhile the change is made anew. `ours` has to be in the branch's history. Raises what
    `rewritten` does, UsageMistake, PushRefused and PushedOut; these two have the `patch`.
    """
    name, ref = remote
    for attempt in range(PUSHES_MAX):
        time.sleep(random.uniform(0, PAUSE_MAX * 2 ** (attempt - 1)) if attempt else 0.0)  # noqa: S311 - no secret
        base = fetched(repository, name, ref, terms)
        if ours is not None and not is_ancestor(repository, ours, base):
            raise UsageMistake(
                f"this branch has commits that {name} does not have", f"push them first: git push {name}"
            )
        tree = open_tree(repository, base, folder)
        change = rewritten(tree, wish, folder=folder, where=f" at {name} ({base[:12]})", cache=cache)
        if not change.differs:
            return Published(base, None, change)
        path = f"{folder}/{change.file}" if folder else change.file
        made = write_commit(repository, base, path, change.after, credit)
        try:
            if pushed(repository, made, name, ref, terms):
                return Published(base, made, change)
        except PushRefused as error:
            error.patch = change.patch
            raise
    raise PushedOut(name, change.patch)


def push(
    checkout: Checkout,
    root: Path,
    remote: tuple[str, str],
    wish: Wish | Declaration,
    *,
    credit: Credit,
    terms: Terms,
    cache: Path | None = None,
) -> tuple[Published, bool]:
    """Publish a wish and let the checkout follow; say whether it could. Before the remote has it nothing changes here."""
    here, _, wish = _both(checkout, root, wish, cache)
    done = publish(
        checkout.top,
        checkout.folder,
        remote,
        wish,
        credit=credit,
        terms=terms,
        ours=checkout.head,
        cache=cache,
    )
    target = done.commit or done.base
    if done.commit is not None and done.base == checkout.head:
        _settle(checkout, root, here, target)
        return done, True
    return done, target == checkout.head or checkout.follow(target, checkout.path(here.file))


def _both(
    checkout: Checkout, root: Path, wish: Wish | Declaration, cache: Path | None
) -> tuple[Rewritten, Rewritten, Wish | Declaration]:
    """Return the change to the file as it is here and as the branch has it, and the wish for that very file.

    Raises UsageMistake for other changes.
    """
    here = rewritten(open_tree(root), wish, folder=checkout.folder, cache=cache)
    if here.before is None:
        _refuse_link(root, here)
    tree = open_tree(checkout.top, checkout.head, checkout.folder)
    if isinstance(wish, Declaration) and here.file not in tree.paths:
        wish = replace(wish, file=here.file)
    short = checkout.head[:12]
    there = rewritten(tree, wish, folder=checkout.folder, where=f" in {short}", cache=cache)
    checkout.refuse_changes(checkout.path(here.file), there.after)
    if here.file != there.file:
        hint = "commit or undo that first, or leave --commit and --push out"
        raise UsageMistake(f"{there.file} declares {wish.address} in {short}, and does not any more", hint)
    return here, there, wish


def _settle(checkout: Checkout, root: Path, here: Rewritten, commit: str) -> None:
    if here.differs:
        write(root, here)
    checkout.move(commit, checkout.path(here.file))


def _refuse_link(root: Path, change: Rewritten) -> None:
    """Raise UsageMistake where a new file would be written through a link, which may lead anywhere."""
    above = (root.resolve() / change.file).parent
    if above.resolve() != above:
        raise UsageMistake(f"{change.file} lies behind a symbolic link", "name another file with --file")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _at(spec: dict[str, Any], one: Assigned) -> str:
    found: Any = spec
    for name in one.path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else one.default


def _lines(content: bytes) -> list[str]:
    """Return the lines of a file as Git sees them: each ends with its line feed."""
    parts = content.decode("utf-8").split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _patch_line(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _quoted(path: str) -> str:
    """Return a path as a patch writes it: in quotes where it holds what would end it."""
    if '"' in path or "\\" in path:
        return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return path
