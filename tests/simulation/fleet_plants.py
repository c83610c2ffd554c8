"""Bugs planted in the package, to see that a fleet shows each of them; some need two, since the second one would save it."""

from dataclasses import dataclass

from reconciler.agent.custody import Custody
from reconciler.execute import dispatch, task_run
from reconciler.execute.attempt_records import record_ending
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.leasing import Leasing
from reconciler.execute.logs import LogStore
from reconciler.model.live import StepState
from reconciler.protocol.tickets import Digest, Exited, Final, NotStarted, TicketId
from reconciler.schedule.holdings import Holdings, Resource
from reconciler.schedule.machines import Machine
from reconciler.schedule.scheduler import Scheduler
from reconciler.store import attempts, claims, tasks
from reconciler.store.claims import OccupiedError
from tests.simulation.fleet_faults import FAULTS
from tests.simulation.plants import _cancelled_at_once, _durable_at_once, _forgotten_first, _tried_again_on_silence

Patch = tuple[object, str, object]


@dataclass(frozen=True, slots=True)
class Plant:
    """What is made faulty, which guarantee breaks, and by which kinds of faults."""

    guarantee: str
    patches: tuple[Patch, ...]
    kinds: tuple[str, ...] = tuple(FAULTS)
    first: int = 0
    """The first seed that is tried."""


LONG_CUTS = ("long cut", "long cut, server unaware")
SILENCES = (*LONG_CUTS, "cut, server unaware", "cut, agent unaware")

_released = Leasing.release


def _what_is_lost_stays(self: Leasing, ticket: TicketId) -> None:
    hold = self._scheduler._held.holds.get(self._tickets.get(ticket))
    if hold is None or not hold.lost:
        _released(self, ticket)


_claimed = claims._claimed


def _without_a_new_token(resources, wish):
    tokens = _claimed(resources, wish)
    if not isinstance(tokens, OccupiedError):
        for claim in wish.claims:
            resources[claim.resource].fence -= 1
    return tokens


def _without_a_look(resources, wish):
    for claim in wish.claims:
        found = resources[claim.resource]
        found.used, found.fence = found.used + 1, found.fence + 1
        found.alone = wish.holder if claim.alone else ""
    return {claim.resource: resources[claim.resource].fence for claim in wish.claims}


def _late_end_counts(final: Final, at: float):
    record = record_ending(final, at)

    def work(tx):
        found = attempts.attempt(tx, final.ticket)
        if found is not None and isinstance(final.ending, Exited):
            state = StepState.FAILED if final.ending.code else StepState.SUCCEEDED
            tasks.set_step(tx, found.task, found.step, state, reason="", at=at)
        return record(tx)

    return work


_disconnected = Dispatcher.disconnected


async def _gone_is_not_started(self: Dispatcher, worker: str, reason: str) -> None:
    await _disconnected(self, worker, reason)
    for run in list(self._runs.values()):
        for ticket, attempt in list(run.live.items()):
            if attempt.worker == worker:
                await run.take_final(Final(ticket, NotStarted(reason), 0, Digest("")))


async def _released_when_written(self: Dispatcher, worker: str, final: Final) -> None:
    run = self._run_of(worker, final.ticket)
    if run is None or not await run.take_final(final):
        await self._grounds.store.write(record_ending(final, 0.0))
        self._grounds.leasing.release(final.ticket)
    self._kept.get(worker, set()).discard(final.ticket)
    self._grounds.links[worker].forget(final.ticket)


def _restore_leases_alone(self: Leasing, memory: object) -> None:
    for lease in memory.leases:
        self._scheduler.restore_lease(lease.task, lease.key, lease.worker, lease.grants)


_gave_back = Holdings.release


def _wakes_nobody(self: Holdings, name: object) -> None:
    before = set(self.woken)
    _gave_back(self, name)
    self.woken = before


def _shared_by_all(self: Resource, claim: object) -> bool:
    return self.capacity is None or self.used < self.capacity


def _freed_twice(tx, holders, *, lost=False) -> None:
    for holder in holders:
        for (resource,) in tx.all("SELECT resource FROM claims WHERE holder = ?", holder):
            tx.execute("UPDATE resources SET used = used - 1 WHERE name = ? AND used > 1", resource)
    _freed(tx, holders, lost=lost)


_freed = claims.release_all


def _of_the_lost_nothing_is_freed(tx, holders, *, lost=False) -> None:
    if not lost:
        _freed(tx, holders)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def _always_empty() -> property:
    return property(lambda _: set(), lambda _, __: None)


PLANTS: dict[str, Plant] = {
    "a second attempt is opened on silence": Plant(
        "G2", ((task_run, "tried_again", _tried_again_on_silence),), LONG_CUTS
    ),
    "an attempt is repeated before there is proof": Plant(
        "G2", ((Dispatcher, "disconnected", _gone_is_not_started),), SILENCES
    ),
    "a token does not rise": Plant("G3", ((claims, "_claimed", _without_a_new_token),)),
    "what comes late under an old token settles the step": Plant(
        "G3", ((dispatch, "record_ending", _late_end_counts),), LONG_CUTS, first=60
    ),
    "an engine forgets what is held, and the store does not look": Plant(
        "G3",
        ((Leasing, "restore", _restore_leases_alone), (claims, "_claimed", _without_a_look)),
        ("server killed", "server killed after a write"),
    ),
    "what is held alone is shared, and the store does not look": Plant(
        "G3", ((Resource, "admits", _shared_by_all), (claims, "_claimed", _without_a_look))
    ),
    "a script runs alone beside what was given up": Plant(
        "G3",
        ((Machine, "is_idle", property(lambda self: self.running == 0 and self.alone is None)),),
        LONG_CUTS,
        first=120,
    ),
    "acknowledged before it is durable": Plant(
        "G4", ((LogStore, "durable", _durable_at_once),), ("server loses power",)
    ),
    "forgotten before it is recorded": Plant(
        "G5", ((Dispatcher, "finished", _forgotten_first),), ("server killed", "server killed after a write"), first=20
    ),
    "cancelled is said without proof": Plant("G6", ((Custody, "cancel", _cancelled_at_once),), ("cancel",)),
    "cancelled is said of what was given up": Plant(
        "G6", ((attempts, "given_up", lambda *_: 0),), (*LONG_CUTS, "cancel")
    ),
    "what ends while its session ends is not released": Plant(
        "G7", ((Dispatcher, "finished", _released_when_written),), ("long cut", "cut"), first=115
    ),
    "what was given up is never released": Plant("G7", ((Leasing, "release", _what_is_lost_stays),), LONG_CUTS),
    "a place is freed twice": Plant("G7", ((claims, "release_all", _freed_twice),)),
    "a task that was cancelled in the queue keeps its turn": Plant(
        "G7", ((Leasing, "_queued", _always_empty()),), ("cancel",)
    ),
    "nobody waits for a script that wants its machine alone": Plant(
        "G8", ((Scheduler, "_booked", lambda *_: ()),), ("held up",)
    ),
    "the end of a task frees nothing in memory": Plant("G9", ((Leasing, "end", _nothing),)),
    "a place that becomes free wakes nobody": Plant("G9", ((Holdings, "release", _wakes_nobody),)),
    "a lost attempt keeps its place in the store": Plant(
        "G9", ((claims, "release_all", _of_the_lost_nothing_is_freed),), LONG_CUTS
    ),
    "what was recorded as ended is wanted for ever": Plant("G10", ((Custody, "forget", _nothing),)),
}
