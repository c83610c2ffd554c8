"""Commits by the names that people give them, in the repositories that are here, and where they stand."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.declare.git import asked
from reconciler.declare.names import ambiguous, commit_named
from reconciler.server.answers.outstanding import outstanding
from reconciler.server.answers.overview import known_since
from reconciler.server.answers.waiting import Stand, Told, stand_of
from reconciler.server.state.place import Place
from reconciler.store import following
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a commit stands, by its whole name as far as that is known here, and in a sentence why.

    `until` is when a suspension ends that holds it up, in seconds since the epoch.
    """

    commit: str
    stand: Stand
    message: str
    until: float | None = None


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


def standing(tx: Transaction, commit: str, roots: Sequence[Path], *, engine_runs: bool) -> Standing:
    """Return where a commit stands; where no engine runs, nothing that is under way or waits goes on."""
    conditions = following.conditions(tx)
    found = stand_of(
        commit,
        Told(
            conditions,
            following.commits(tx),
            following.suspension(tx, time.time()),
            None if engine_runs else known_since(conditions.values(), following.source(tx)),
        ),
        lambda head, wanted: head == wanted or any(_is_ancestor(root, wanted, head) for root in roots),
        lambda: outstanding(tx),
    )
    return Standing(commit, found.stand, found.message, found.until)


def _is_ancestor(root: Path, ancestor: str, commit: str) -> bool:
    return asked(root, "merge-base", "--is-ancestor", ancestor, commit).status == 0
