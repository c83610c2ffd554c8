"""Where each drain is: since when, how many attempts are left, and what its deadline means for them."""

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.live import Drain, Event, Occupant, TaskId
from reconciler.model.spec import canonical_json
from reconciler.store import audit, overrides
from reconciler.store.database import Transaction
from reconciler.store.leaving import leaving
from reconciler.store.overrides import ENGINE

if TYPE_CHECKING:
    from reconciler.model.infrastructure import Drain as DrainSpec

_SELECT = "SELECT worker, since, drained_at, overdue_at FROM drains "  # as Drain


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to do about drains: rows to write, those that have ended, and what is to be told."""

    written: tuple[Drain, ...]
    ended: tuple[str, ...]
    events: tuple[Event, ...]

    @property
    def is_empty(self) -> bool:
        """Is everything recorded as it is?"""
        return not (self.written or self.ended or self.events)


def drains(tx: Transaction) -> dict[str, Drain]:
    """Return each drain as it was last recorded, by worker."""
    return {row[0]: Drain(*row) for row in tx.all(_SELECT + "ORDER BY worker")}


def occupants(tx: Transaction) -> dict[str, tuple[Occupant, ...]]:
    """Return what lives on each worker, lost attempts included, the oldest first."""
    found: dict[str, list[Occupant]] = defaultdict(list)
    for worker, ticket, task, deployment, granted_at, step in tx.all(
        "SELECT attempts.worker, ticket, attempts.task, deployment, granted_at, step_runs.key FROM attempts"
        " JOIN tasks ON tasks.id = attempts.task JOIN step_runs ON step_runs.task = attempts.task AND position = step"
        " WHERE attempts.finished_at IS NULL ORDER BY granted_at, ticket"
    ):
        found[worker].append(Occupant(ticket, TaskId(task), deployment, granted_at, step))
    return {worker: tuple(here) for worker, here in found.items()}


def look(tx: Transaction, now: float) -> Look:
    """Compare what is recorded with what is, at `now` in seconds since the epoch; nothing is written."""
    wanted, known, living = _wanted(tx, now), drains(tx), occupants(tx)
    written, events = [], []
    for worker, (since, spec) in wanted.items():
        before = known.get(worker) or Drain(worker, since)
        after, told = _moved(before, len(living.get(worker, ())), spec, now)
        if after != known.get(worker):
            written.append(after)
        events += told
    ended = [worker for worker in known if worker not in wanted]
    events += [_drained(known[worker], now) for worker in ended if _has_left(tx, known[worker])]
    return Look(tuple(written), tuple(ended), tuple(events))


def record(tx: Transaction, found: Look) -> None:
    """Write what a look in the same transaction has found."""
    tx.many(
        "INSERT INTO drains (worker, since, drained_at, overdue_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (worker) DO UPDATE SET drained_at = excluded.drained_at, overdue_at = excluded.overdue_at",
        [(each.worker, each.since, each.drained_at, each.overdue_at) for each in found.written],
    )
    for worker in found.ended:
        tx.execute("DELETE FROM drains WHERE worker = ?", worker)
    if found.events:
        audit.record_all(tx, found.events)


def cancelled(tx: Transaction, now: float) -> dict[str, dict[str, str]]:
    """Return, by worker, the tickets that a drain cancels since its deadline has passed, each with the sentence why."""
    overdue = {worker for worker, found in drains(tx).items() if found.overdue_at is not None}
    if not overdue:
        return {}
    living = occupants(tx)
    return {
        worker: dict.fromkeys(
            (each.ticket for each in living.get(worker, ())),
            f"cancelled by the drain of {worker}: its deadline of {spec.deadline} has passed",
        )
        for worker, (_, spec) in _wanted(tx, now).items()
        if worker in overdue and spec.then == "cancel"
    }


def _moved(before: Drain, left: int, spec: "DrainSpec", now: float) -> tuple[Drain, list[Event]]:
    """Return a drain as it is at `now`, and what is to be told of it."""
    if not left:
        if before.drained_at is not None:
            return before, []
        return replace(before, drained_at=now, overdue_at=None), [_drained(before, now)]
    after = replace(before, drained_at=None)
    if after.overdue_at is not None or now < after.since + spec.deadline.seconds:
        return after, []
    what = f"{left} attempt{'s' if left > 1 else ''} still there after its deadline of {spec.deadline}"
    subject = f"Worker/{before.worker}"
    event = Event(now, ENGINE, "stall", subject, "failed", detail=f"the drain has {what}")
    if spec.then == "cancel":
        event = Event(now, ENGINE, "cancel", subject, detail=f"the drain cancels {what}")
    return replace(after, overdue_at=now), [event]


def _drained(drain: Drain, now: float) -> Event:
    seconds = max(0, int(now - drain.since))
    return Event(
        now, ENGINE, "drained", f"Worker/{drain.worker}", detail=f"nothing runs there any more, after {seconds} s"
    )


def _has_left(tx: Transaction, drain: Drain) -> bool:
    """Say whether a drain ended since its worker left Git and nothing lives there any more."""
    if drain.drained_at is not None:
        return False
    return tx.one("SELECT 1 FROM objects WHERE kind = 'Worker' AND name = ?", drain.worker) is None


def _wanted(tx: Transaction, now: float) -> dict[str, tuple[float, "DrainSpec"]]:
    """Return who drains, whoever wants it: since when at the earliest, and by which drain block."""
    found: dict[str, tuple[float, DrainSpec]] = {}
    by_hand = overrides.standing(tx, now)
    marked = tx.all("SELECT name, spec FROM objects WHERE kind = 'Worker' AND spec LIKE ?", '%"state":"draining"%')
    declared = {str(name): str(spec) for name, spec in marked}
    going = leaving(tx)
    for name in by_hand.keys() | going.keys():
        row = tx.one("SELECT spec FROM objects WHERE kind = 'Worker' AND name = ?", name)
        if row is not None:
            declared[name] = str(row[0])
    for name, spec in sorted(declared.items()):
        if name in by_hand:
            found[name] = (by_hand[name].since, _block(spec))
        elif '"state":"draining"' in spec and json.loads(spec).get("state") == "draining":
            found[name] = (now, _block(spec))
    return found | {name: (now, _block(spec)) for name, spec in going.items() if name not in declared}


def _block(spec: str) -> "DrainSpec":
    from reconciler.model.infrastructure import Drain as DrainSpec  # here, for few states have a drain

    return DrainSpec.parse(canonical_json(json.loads(spec).get("drain", {})))
