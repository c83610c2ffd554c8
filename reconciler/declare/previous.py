"""What was loaded last of a source: the next commit is read and gathered by what it differs in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from reconciler.declare.contents import Contents
from reconciler.declare.source import Listing
from reconciler.model.desired import Declared


@dataclass(frozen=True, slots=True)
class Previous:
    """A commit in whose files nothing was wrong: what each chosen one declares, and all of it gathered.

    A file's declarations depend on its path and content alone, so those of a file that did not move stand, but for
    `lenient` ones: of those more is told where the live state holds an object from them.
    """

    listing: Listing
    declared: Mapping[str, tuple[Declared, ...]]
    foreign: Mapping[str, int]
    """How many documents are foreign, in files that have some."""
    contents: Contents
    lenient: frozenset[str] = frozenset()

    def gather(self, declared: Mapping[str, tuple[Declared, ...]], paths: Collection[str]) -> Contents:
        """Gather what is declared now, which differs from this in `paths` at most; this must not be used then."""
        gone = [item for path in paths for item in self.declared.get(path, ())]
        come = [item for path in paths for item in declared.get(path, ())]
        return self.contents.after((item for path in sorted(declared) for item in declared[path]), gone, come)
