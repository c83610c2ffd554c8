"""Where a faulty object says nothing certain: paths in a tree, so that asking costs the same however many there are."""

from collections.abc import Iterable
from typing import Any

from reconciler.declare.shapes import Path

FieldPath = tuple[str | int | None, ...]
"""Where a field stands; None is every index or key there."""

_HERE = object()
"""The key of what is itself not certain."""


class Gaps:
    """The paths of what is not certain; a whole list may be, one item of it, or a field far below."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._tree: dict[Any, Any] = {}
        self._told: dict[tuple[FieldPath, bool], bool] = {}
        for path in paths:
            branch = self._tree
            for element in path:
                branch = branch.setdefault(element, {})
            branch[_HERE] = {}

    def open_at(self, path: FieldPath) -> bool:
        """Say whether something at `path`, above or below it is not certain."""
        return self._ask(path, below=True)

    def lacks(self, path: FieldPath) -> bool:
        """Say whether what stands at `path` is not certain as a whole: it, or something above."""
        return self._ask(path, below=False)

    def _ask(self, path: FieldPath, *, below: bool) -> bool:
        if (path, below) not in self._told:
            self._told[path, below] = _reaches(self._tree, path, below=below)
        return self._told[path, below]


def _reaches(branch: dict[Any, Any], path: FieldPath, *, below: bool) -> bool:
    if _HERE in branch:
        return True
    if not path:
        return below and bool(branch)
    first, *rest = path
    inside = branch.values() if first is None else [branch[first]] if first in branch else []
    return any(_reaches(other, tuple(rest), below=below) for other in inside)
