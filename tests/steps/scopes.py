"""Scopes that the tests of templates look into."""

from reconciler.steps.values import Entry, Known, Path, Scope

SECRET = "hunter2-hunter2"


def texts(**values: str) -> Scope:
    """Make a scope of plain variables; a double underscore stands for the dot."""
    return Scope.of({("vars", *name.split("__")): Known(value) for name, value in values.items()}, empty=("vars",))


def shop() -> Scope:
    """Make a scope with a bit of everything."""
    entries: dict[Path, Entry] = {
        ("vars", "Database"): Known("shop"),
        ("vars", "Mode"): Known("fast"),
        ("vars", "Count"): Known("7"),
        ("vars", "Db", "Name"): Known("orders"),
        ("vars", "Db", "Password"): Known(SECRET, frozenset({"vars.Db.Password"})),
        ("release",): Known("1.4.2"),
        ("release", "name"): Known("1.4.2"),
        ("steps", "backup", "output", "url"): Known("s3://b/1"),
        ("steps", "Back up", "output", "url"): Known("s3://b/1"),
        ("steps", "backup", "status"): Known("succeeded"),
        ("params", "count"): Known(3),
        ("params", "share"): Known(0.5),
        ("params", "loud"): Known(True),
    }
    return Scope.of(entries)
