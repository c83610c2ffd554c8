"""What of a state is not done: tasks that have not ended, and declared deployments whose last task did not succeed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.execute.queue_facts import queue_facts
from reconciler.model.live import LiveState
from reconciler.plan import deployments
from reconciler.schedule.queue import circles_told, moves
from reconciler.store import objects, tasks
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A task that has not ended, of the commit that it was queued for; `moves` by itself, or `asks` a person.

    One that does neither waits in vain, such as for a deployment that failed.
    """

    revision: str
    moves: bool
    asks: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A declared deployment whose last task did not succeed: the commit that it was queued for, when it ended."""

    revision: str
    at: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What is not done."""

    unfinished: tuple[Unfinished, ...] = ()
    failures: tuple[Failure, ...] = ()


def outstanding(tx: Transaction) -> Outstanding:
    """Read what is not done; each declared deployment and each unfinished task is looked at."""
    return Outstanding(tuple(_unfinished(tx)), tuple(_failures(tx)))


def _unfinished(tx: Transaction) -> Iterator[Unfinished]:
    facts = queue_facts(tx)
    found = {task.id: task for task in (*facts.queued, *facts.running)}
    waiting = circles_told(facts.conditions(time.time()))
    for task in found.values():
        by_itself = moves(task, found, waiting, people=False)
        asks = not by_itself and moves(task, found, waiting, people=True)
        yield Unfinished(task.revision, by_itself, asks)


def _failures(tx: Transaction) -> Iterator[Failure]:
    live = LiveState({}, tasks.last_tasks(tx))
    remedy = deployments.ByServer(lambda: objects.live_state(tx).objects)
    for name, found in objects.of_kind(tx, "Deployment").items():
        for wish in deployments.wishes_of(name, found):
            for sentence in deployments.failed_slots([wish], live, remedy=remedy):
                task = live.last_tasks[wish.slot]
                yield Failure(task.revision, task.finished_at or task.queued_at, sentence)
