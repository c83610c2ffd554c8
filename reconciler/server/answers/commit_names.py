"""Commits by the names that people give them, in the repositories that are here, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.declare.git import asked
from reconciler.declare.names import ambiguous, commit_named
from reconciler.server.answers.waiting import Stand, stand_of
from reconciler.server.state.place import Place
from reconciler.store import following
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a commit stands, by its whole name as far as that is known here, and in a sentence why."""

    commit: str
    stand: Stand
    message: str


def mirror_of(place: Place) -> Path:
    """Return where a fetched source's commits lie; nothing is there where the source is a repository on this disk."""
    return place.files.root / "mirror" / "trees.git"


def repositories(place: Place) -> tuple[Path, ...]:
    """Return the repositories in which the commits of a space are looked for."""
    return tuple(root for root in (mirror_of(place), place.root) if root.is_dir())


def whole_name(roots: Sequence[Path], commit: str) -> str | None:
    """Return the whole name of a commit, None where no repository here has it; raises UsageMistake for two meanings."""
    found = {named for root in roots if (named := commit_named(root, commit))}
    if len(found) > 1:
        raise ambiguous(commit, sorted(name[:12] for name in found))
    return next(iter(found), None)


def standing(tx: Transaction, commit: str, roots: Sequence[Path]) -> Standing:
    """Return where a commit stands."""
    found = stand_of(
        commit,
        following.conditions(tx),
        following.commits(tx),
        lambda head, wanted: head == wanted or any(_is_ancestor(root, wanted, head) for root in roots),
    )
    return Standing(commit, found.stand, found.message)


def _is_ancestor(root: Path, ancestor: str, commit: str) -> bool:
    return asked(root, "merge-base", "--is-ancestor", ancestor, commit).status == 0
