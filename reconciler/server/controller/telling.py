"""Keeps the conditions of a space as things stand, and tells those that became another."""

import time
from collections.abc import Iterator
from dataclasses import replace

from reconciler.model.following import Condition, ConditionType, Judged, SourceState
from reconciler.model.live import ActorKind, Event, LiveState, TaskState
from reconciler.plan import deployments
from reconciler.server.controller.conditions import Facts, conditions_of
from reconciler.server.forge.herald import Herald
from reconciler.server.orders.account import account
from reconciler.server.state import origins
from reconciler.server.voice import Voice
from reconciler.store import audit, drains, following, objects, tasks
from reconciler.store.counters import last_number
from reconciler.store.database import Transaction
from reconciler.store.writer import Store

UNREADABLE, DRIFTED = "SourceUnreadable", "Drifted"
"""Reasons that no event of a commit, a task or a person tells of: they have one of their own."""


class Teller:
    """Compares what is with what was told last; cheap where nothing moved."""

    def __init__(self, store: Store, voice: Voice, herald: Herald | None = None) -> None:
        self._store = store
        self._voice = voice
        self._herald = herald
        self._told: tuple[Condition, ...] = ()
        self._failed: tuple[str, ...] = ()
        self._seen: tuple[frozenset[int], int, float] | None = None

    async def tell(self, source: SourceState | None, judged: Judged | None, drift: str) -> None:
        """Record the conditions of now, and say which became another."""
        wanted = conditions_of(await self._store.read(lambda tx: self._facts(tx, source, judged, drift)))
        if wanted == self._told:
            return
        for moved in await self._store.write(lambda tx: _recorded(tx, wanted)):
            facts = {"type": moved.type.value, "status": str(moved.status).lower(), "reason": moved.reason}
            self._voice.say("condition", **facts, message=moved.message, revision=moved.revision)
        self._told = wanted
        if self._herald is not None:
            self._herald.tell(wanted)

    def _facts(self, tx: Transaction, source: SourceState | None, judged: Judged | None, drift: str) -> Facts:
        found = tasks.unfinished(tx)
        unfinished = frozenset(task.id for task in found)
        seen = unfinished, last_number(tx, "task"), judged.judged_at if judged else 0.0
        if seen != self._seen:  # what failed is found in all that is declared, so not each second
            self._failed, self._seen = tuple(_failed(tx)), seen
        overdue = tuple(name for name, drain in drains.drains(tx).items() if drain.overdue_at is not None)
        suspension = following.suspension(tx, time.time())
        asking = sum(task.state is TaskState.AWAITING_INTERVENTION for task in found)
        return Facts(source, judged, suspension, len(unfinished), asking, self._failed, overdue, drift)


def _recorded(tx: Transaction, wanted: tuple[Condition, ...]) -> list[Condition]:
    """Record conditions, with the events that belong to them, and return those that became another."""
    before, now = following.conditions(tx), time.time()
    moved = following.set_conditions(tx, wanted, now)
    if events := list(_events(before.get(ConditionType.RECONCILING), moved, now)):
        audit.record_all(tx, events)
    return moved


def _events(reconciling: Condition | None, moved: list[Condition], now: float) -> Iterator[Event]:
    """Yield what began or ended; `reconciling` is the condition of before."""
    for condition in moved:
        known = (condition.revision, condition.message)
        if condition.type is ConditionType.RECONCILING and condition.reason == UNREADABLE:
            yield _event(now, "look", "unreadable", *known)
        elif condition.type is ConditionType.RECONCILING and reconciling and reconciling.reason == UNREADABLE:
            yield _event(now, "look", "done", condition.revision, "the source can be read again")
        elif condition.type is ConditionType.STALLED and condition.reason == DRIFTED:
            yield _event(now, "reconcile", "drifted", *known)


def _event(now: float, action: str, outcome: str, revision: str, detail: str) -> Event:
    event = Event(now, ourselves(), action, "space", outcome, revision, detail)
    return replace(event, kind=ActorKind.CONTROLLER, origin=origins.of_server())


def ourselves() -> str:
    """Name who runs this process, where no commit names anybody."""
    return account()


def _failed(tx: Transaction) -> list[str]:
    """Return a sentence for each declared slot whose last task did not succeed."""
    declared = [
        wish for name, found in objects.of_kind(tx, "Deployment").items() for wish in deployments.wishes_of(name, found)
    ]
    live = LiveState({}, tasks.last_tasks(tx))
    remedy = deployments.ByServer(lambda: objects.live_state(tx).objects)
    return list(deployments.failed_slots(declared, live, remedy=remedy))
