"""Live objects: what was last applied, under which serial, revision and binding."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.model.errors import Conflict
from reconciler.model.live import Binding, LiveObject, LiveState
from reconciler.model.spec import Address, Position
from reconciler.store.counters import last_number, next_number
from reconciler.store.database import Row, Transaction, Value
from reconciler.store.drains import drains, occupants
from reconciler.store.leaving import leaving
from reconciler.store.overrides import standing
from reconciler.store.tasks import last_tasks, overtaken_tasks, settled_steps
from reconciler.store.worker_status import statuses

if TYPE_CHECKING:
    from reconciler.store.known_objects import KnownObjects

_SELECT = "SELECT kind, name, spec, metadata, digest, file, line, col, revision, generation, protected FROM objects "  # as _row


def put(tx: Transaction, obj: LiveObject) -> None:
    """Write `obj`, new or over what stands at its address."""
    put_many(tx, (obj,))


def put_many(tx: Transaction, objects: Iterable[LiveObject]) -> None:
    """Write all of `objects`, each new or over what stands at its address."""
    tx.many(
        "INSERT INTO objects"
        " (kind, name, spec, metadata, digest, file, line, col, revision, generation, protected)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET"
        " spec = excluded.spec, metadata = excluded.metadata, digest = excluded.digest, file = excluded.file,"
        " line = excluded.line, col = excluded.col, revision = excluded.revision,"
        " generation = excluded.generation, protected = excluded.protected",
        [_row(obj) for obj in objects],
    )


def remove(tx: Transaction, address: Address) -> bool:
    """Forget the object at `address`; False if there was none."""
    return tx.execute("DELETE FROM objects WHERE kind = ? AND name = ?", *address) == 1


def rename(tx: Transaction, old: Address, new: Address) -> bool:
    """Move the object from `old` to `new`, its identity with it; False if there was none.

    Raises Conflict where another object has the new address.
    """
    assert old.kind == new.kind, "a rename keeps the kind"
    if old != new and one(tx, new) is not None:
        raise Conflict(f"{old} cannot be renamed: {new} exists already", f"remove {new} first, or choose another name")
    return tx.execute("UPDATE objects SET name = ? WHERE kind = ? AND name = ?", new.name, *old) == 1


def move(tx: Transaction, places: Iterable[tuple[Address, Position]]) -> None:
    """Record where objects are declared now that are as they were."""
    tx.batch(
        "UPDATE objects SET file = column3, line = column4, col = column5"
        " FROM {rows} WHERE kind = column1 AND name = column2",
        ("text", "text", "text", "integer", "integer"),
        [(*address, *position) for address, position in places],
    )


def one(tx: Transaction, address: Address) -> LiveObject | None:
    """Return the object at `address`."""
    row = tx.one(_SELECT + "WHERE kind = ? AND name = ?", *address)
    return _object(row) if row else None


def all_objects(tx: Transaction) -> dict[Address, LiveObject]:
    """Return every object, in the order of kind and name."""
    found = map(_object, tx.all(_SELECT + "ORDER BY kind, name"))
    return {obj.address: obj for obj in found}


def of_kind(tx: Transaction, kind: str) -> dict[str, LiveObject]:
    """Return the objects of one kind by name."""
    found = map(_object, tx.all(_SELECT + "WHERE kind = ? ORDER BY name", kind))
    return {obj.address.name: obj for obj in found}


def page(tx: Transaction, after: Address, kind: str | None, limit: int) -> list[LiveObject]:
    """Return the first `limit` objects behind an address, of a kind or of all, in the order of kind and name."""
    if kind is not None:
        rows = tx.all(_SELECT + "WHERE kind = ? AND name > ? ORDER BY name LIMIT ?", kind, after.name, limit)
    else:
        rows = tx.all(_SELECT + "WHERE (kind, name) > (?, ?) ORDER BY kind, name LIMIT ?", *after, limit)
    return list(map(_object, rows))


def mentioning(tx: Transaction, after: Address, text: str, limit: int) -> list[LiveObject]:
    """Return the first `limit` objects of a kind behind an address whose spec holds a text somewhere, by name.

    Without regard to case, and `_` and `%` stand for other letters: whoever asks looks at what is found.
    """
    rows = tx.all(
        _SELECT + "WHERE kind = ? AND name > ? AND spec LIKE ? ORDER BY name LIMIT ?", *after, f"%{text}%", limit
    )
    return list(map(_object, rows))


def names(tx: Transaction, kind: str) -> list[str]:
    """Return the names of the objects of a kind, in order."""
    return [str(name) for (name,) in tx.all("SELECT name FROM objects WHERE kind = ? ORDER BY name", kind)]


def present(tx: Transaction, kind: str, names: Iterable[str]) -> set[str]:
    """Return those of `names` that are objects of a kind."""
    rows = tx.batch(
        "SELECT name FROM objects JOIN {rows} ON kind = column1 AND name = column2",
        ("text", "text"),
        [(kind, name) for name in names],
    )
    return {name for (name,) in rows}


def live_state(tx: Transaction, known: "KnownObjects | None" = None) -> LiveState:
    """Return all that a plan is judged by, at one serial; an engine reads only those objects that it does not know."""
    now, serial = time.time(), last_number(tx, "serial")
    return LiveState(
        at=now,
        objects=all_objects(tx) if known is None else known.at(tx),
        last_tasks=last_tasks(tx),
        serial=serial,
        binding=binding(tx),
        revision=last_revision(tx),
        workers=statuses(tx),
        overrides=standing(tx, now),
        drains=drains(tx),
        occupants=occupants(tx),
        leaving=leaving(tx),
        overtaken=tuple(overtaken_tasks(tx)),
        settled=settled_steps(tx),
    )


def next_serial(tx: Transaction, changes: int = 1) -> int:
    """Raise the state's serial and return it; whoever changes objects does this in the same transaction."""
    return next_number(tx, "serial", changes)


def binding(tx: Transaction) -> Binding | None:
    """Return the space and source that this state belongs to."""
    row = tx.one("SELECT space, root, path FROM bindings")
    return Binding(*row) if row else None


def bind(tx: Transaction, to: Binding) -> None:
    """Bind this state to a space and source, in place of any former one."""
    tx.execute(
        "INSERT INTO bindings (one, space, root, path) VALUES (1, ?, ?, ?)"
        " ON CONFLICT (one) DO UPDATE SET space = excluded.space, root = excluded.root, path = excluded.path",
        to.space,
        to.root,
        to.path,
    )


def record_revision(tx: Transaction, revision: str, at: float) -> None:
    """Record that `revision` was applied; `at` is in seconds since the epoch."""
    number = next_number(tx, "revision")
    tx.execute("INSERT INTO revisions (number, revision, at) VALUES (?, ?, ?)", number, revision, at)


def last_revision(tx: Transaction) -> str:
    """Return the revision that was applied last, or nothing."""
    row = tx.one("SELECT revision FROM revisions ORDER BY number DESC LIMIT 1")
    return str(row[0]) if row else ""


def _row(obj: LiveObject) -> tuple[Value, ...]:
    return (
        *obj.address,
        obj.spec,
        obj.metadata,
        obj.digest,
        *obj.position,
        obj.revision,
        obj.generation,
        int(obj.protected),
    )


def _object(row: Row) -> LiveObject:
    kind, name, spec, metadata, digest, file, line, column, revision, generation, protected = row
    return LiveObject(
        Address(kind, name),
        spec,
        metadata,
        digest,
        Position(file, line, column),
        revision,
        generation,
        bool(protected),
    )
