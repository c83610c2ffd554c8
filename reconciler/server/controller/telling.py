"""Keeps the conditions of a space as things stand, and tells those that became another."""

import time

from reconciler.model.following import Condition, Judged, SourceState
from reconciler.model.live import LiveState
from reconciler.plan import deployments
from reconciler.server.controller.conditions import Facts, conditions_of
from reconciler.server.forge.herald import Herald
from reconciler.server.voice import Voice
from reconciler.store import drains, following, objects, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store


class Teller:
    """Compares what is with what was told last; cheap where nothing moved."""

    def __init__(self, store: Store, voice: Voice, herald: Herald | None = None) -> None:
        self._store = store
        self._voice = voice
        self._herald = herald
        self._told: tuple[Condition, ...] = ()
        self._failed: tuple[str, ...] = ()
        self._seen: tuple[frozenset[int], float] | None = None

    async def tell(self, source: SourceState | None, judged: Judged | None, drift: str) -> None:
        """Record the conditions of now, and say which became another."""
        wanted = conditions_of(await self._store.read(lambda tx: self._facts(tx, source, judged, drift)))
        if wanted == self._told:
            return
        for moved in await self._store.write(lambda tx: following.set_conditions(tx, wanted, time.time())):
            facts = {"type": moved.type.value, "status": str(moved.status).lower(), "reason": moved.reason}
            self._voice.say("condition", **facts, message=moved.message, revision=moved.revision)
        self._told = wanted
        if self._herald is not None:
            self._herald.tell(wanted)

    def _facts(self, tx: Transaction, source: SourceState | None, judged: Judged | None, drift: str) -> Facts:
        unfinished = frozenset(task.id for task in tasks.unfinished(tx))
        seen = unfinished, judged.judged_at if judged else 0.0
        if seen != self._seen:  # what failed is found in all that is declared, so not each second
            self._failed, self._seen = tuple(_failed(tx)), seen
        overdue = tuple(name for name, drain in drains.drains(tx).items() if drain.overdue_at is not None)
        suspension = following.suspension(tx, time.time())
        return Facts(source, judged, suspension, len(unfinished), self._failed, overdue, drift)


def _failed(tx: Transaction) -> list[str]:
    """Return a sentence for each declared slot whose last task did not succeed."""
    declared = [
        wish for name, found in objects.of_kind(tx, "Deployment").items() for wish in deployments.wishes_of(name, found)
    ]
    live = LiveState({}, tasks.last_tasks(tx))
    return list(deployments.failed_slots(declared, live, remedy="reconcile retry {task}"))
