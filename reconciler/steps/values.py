"""What templates look at: values by dotted name, each with the names of the secrets it is made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.model.diagnostics import did_you_mean

Path = tuple[str, ...]
"""A dotted name in its parts: `vars.Db.Password` is ("vars", "Db", "Password")."""

Plain = str | int | float | bool
"""What a name may stand for; everything but a typed parameter is a text."""


@dataclass(frozen=True, slots=True)
class Known:
    """A value; `secrets` names the sensitive values it is made of, and is empty where it may be shown."""

    value: Plain = field(repr=False)
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Deferred:
    """A value that is computed when it is first looked at."""

    compute: Callable[[], Known] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """No value; `reason` is a sentence without its full stop, such as `vars.X is not known`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """No value itself, but names below it have one: `vars.Db` beside `vars.Db.Password`."""


Entry = Known | Deferred | Absent
Answer = Known | Absent | Group


@dataclass(frozen=True, slots=True)
class Scope:
    """All that one rendering may see; a name may have a value and names below it (`release`, `release.name`)."""

    entries: Mapping[Path, Entry]
    groups: frozenset[Path]

    @classmethod
    def of(cls, entries: Mapping[Path, Entry], empty: Iterable[str] = ()) -> "Scope":
        """Make a scope of its entries; `empty` names roots that exist even if nothing is below them."""
        groups = {path[:length] for path in entries for length in range(1, len(path))}
        return cls(entries, frozenset(groups | {(root,) for root in empty}))

    def extended(self, entries: Mapping[Path, Entry], empty: Iterable[str] = ()) -> "Scope":
        """Return this scope with more entries, which win over those of the same name."""
        more = Scope.of(entries, empty)
        kept = {path: entry for path, entry in self.entries.items() if path not in more.groups}
        return Scope({**kept, **entries}, self.groups | more.groups)

    def look(self, path: Path) -> Answer:
        """Say what a name stands for; computes it if need be, and raises what the computation raises."""
        match self.entries.get(path):
            case Deferred(compute):
                return compute()
            case None:
                return Group() if path in self.groups else Absent(self._unknown(path))
            case entry:
                return entry

    def _unknown(self, path: Path) -> str:
        name = dotted(path)
        match self.entries.get(path[:1]):
            case Absent(reason):
                return reason
        siblings = [dotted(other) for other in self.entries if other[0] == path[0] or len(path) == 1]
        return f"{name} is not known{did_you_mean(name, siblings)}"


def dotted(path: Path) -> str:
    """Write a path as templates do: `vars.Db.Password`, `steps['Back up'].output.url`."""
    root, *rest = path
    return root + "".join(f".{part}" if part.isidentifier() else f"['{part}']" for part in rest)
