"""Which commit a person means: a name has one meaning in a repository, or is refused."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.declare.git import GitFailed, asked
from reconciler.model.errors import UsageMistake

WHOLE = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""The name of a commit that is nobody else's; a working tree that was carried out has none."""

SHORT = re.compile(r"[0-9a-fA-F]{4,63}")
"""What Git takes for the beginning of an object's name where no branch or tag is called so."""

STEPS = re.compile(r"\^|~|:|@\{")
"""Where a name ends and the way from it begins, as in `main~2`."""

PLACES = ("refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
"""Where Git looks for a name, the first that has it."""


def commit_named(root: Path, name: str) -> str | None:
    """Return the whole name of the commit that `name` means in the repository at `root`; None where it means none.

    Raises UsageMistake where a branch, a tag or the beginning of a commit's name are called alike and differ; GitSlow.
    """
    meant = _commit(root, name)
    if WHOLE.fullmatch(name):
        return meant
    meanings = dict(_meanings(root, STEPS.split(name, maxsplit=1)[0]))
    if len(set(meanings.values())) > 1:
        raise ambiguous(name, [f"{each} is {commit[:12]}" for each, commit in meanings.items()])
    return meant


def ambiguous(name: str, meanings: Sequence[str]) -> UsageMistake:
    """Say that a name means more than one commit."""
    return UsageMistake(f'"{name}" means more than one commit: {", ".join(meanings)}', "write one of them whole")


def _meanings(root: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield what is called so, and its commit."""
    refs = [place.format(name) for place in PLACES]
    listed = _said(root, "for-each-ref", "--format=%(refname)", *refs).splitlines()
    for ref in refs:
        if ref in listed and (commit := _commit(root, ref)):
            yield ref, commit
    if SHORT.fullmatch(name):
        for beginning in _said(root, "rev-parse", f"--disambiguate={name}").split():
            if commit := _commit(root, beginning):
                yield f"the commit {beginning}", commit


def _commit(root: Path, name: str) -> str | None:
    return _said(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip() or None


def _said(root: Path, *arguments: str) -> str:
    """Return what Git prints, "" where it knows nothing of it or there is no repository."""
    try:
        answer = asked(root, *arguments)
    except GitFailed:
        return ""
    return "" if answer.status else answer.output.decode(errors="replace")
