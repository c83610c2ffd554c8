"""What waits in a fleet: nobody who could run, nobody who is overtaken for ever; and nothing is held that has ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.execute.draining import EVERY
from reconciler.execute.grounds import fleet_in
from reconciler.model.live import StepState, TaskState
from reconciler.model.work import Step
from reconciler.protocol.objects import loaded
from reconciler.schedule.asking import TASKS, attempt_request, step_request, turn_request
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.placement import PoolChoice, location_of
from reconciler.schedule.queue import TASKS_MAX
from reconciler.schedule.requests import Request
from reconciler.store import attempts, audit, claims
from reconciler.store.sqlite import SqliteConnection
from tests.schedule.oracle import Held, Oracle
from tests.simulation.fleet_play import Order
from tests.simulation.fleet_witness import LIVE, FleetWitness, Row, StepRow, pool_of

WAITS_MAX = 2.0
"""Seconds of the world that anything may wait that could run."""

LATELY = 0.5
"""Seconds within which what was decided before somebody waited may be committed after that."""


@dataclass
class Waits:
    """Looks at the rows whenever time is about to pass."""

    witness: FleetWitness
    _able_since: dict[str, float] = field(default_factory=dict)
    _seen: int = -1
    _able: frozenset[str] = frozenset()
    _stuck: Mapping[str, float] = field(default_factory=dict)
    _calm_since: float = 0.0
    _waited_since: dict[tuple[int, int], float] = field(default_factory=dict)
    """Since when the last request of each step waited, or has waited until it was granted."""

    def disturbed(self, wall: float) -> None:
        """Take that something happened that none of those who wait had a part in, or that nobody can be granted now."""
        self._able_since.clear()
        self._calm_since, self._seen = wall, -1

    def look(self, tx: SqliteConnection, commits: int, now: float, wall: float) -> None:
        """Look at what waits, at `now` of the world and `wall` seconds since the epoch."""
        if commits != self._seen:
            self._seen = commits
            self._waited_since |= {(run.task, run.step): run.since or 0.0 for run in self._waiting()}
            self._able = frozenset(self._who_could_run(tx, wall))
            self._stuck = dict(self._who_rests())
            for sentence in claims.mismatches(tx):
                self.witness.blame("G7", sentence)
            self._look_at_order(wall)
        stuck = {name for name, due in self._stuck.items() if wall >= due}
        self._able_since = {name: self._able_since.get(name, now) for name in self._able | stuck}
        for name, since in self._able_since.items():
            if now - since > WAITS_MAX:
                why = "could run" if name in self._able else "rests, and nothing of it runs, waits or is put off"
                self.witness.blame("G9", f"{name} {why}, for {now - since:.1f} s by now")

    def told(self, tx: SqliteConnection) -> None:
        """Look at what the auditor has told."""
        for event in audit.events(tx):
            if event.action == "audit":
                self.witness.blame("G7", f"the auditor: {event.detail}")

    # Who could run.

    def _who_could_run(self, tx: SqliteConnection, wall: float) -> Iterator[str]:
        """Yield who could run even if all others that wait were before him."""
        fleet = _as_looked_at(tx, fleet_in(tx), wall)
        oracle = self._oracle(tx, fleet)
        for request in oracle.waiting.values():
            others = [other for other in oracle.waiting.values() if other is not request]
            locks = {claim.resource for other in others for claim in other.claims if claim.alone}
            booked = {name for other in others if other.exclusive for name in oracle.fitting(other)}
            if oracle._place(request, locks, booked) is not None:
                yield request.id

    def _oracle(self, tx: SqliteConnection, fleet: Fleet) -> Oracle:
        oracle, rows = Oracle(fleet), self.witness.rows
        oracle.resize(TASKS, TASKS_MAX)
        for pool in fleet.pools.values():
            oracle.resize(f"pool/{pool.name}", pool.attempts_max)
        for held in attempts.held(tx):
            request = loaded(Request, held.request.encode())
            left = [claim for claim in request.claims if claim.alone or not held.lost]
            oracle.held[held.ticket] = Held(request, held.worker, left, list(request.machine_claims), held.lost)
        for task in rows.tasks.values():
            order = self.witness.play.orders[task.number - 1]
            turn = _turn(task.number, order)
            if task.state is TaskState.QUEUED:
                oracle.ask(turn)
            elif not task.state.ended:
                oracle.held[turn.id] = Held(turn, "", list(turn.claims), [])
        for run in self._waiting():
            oracle.ask(self._request(run))
        return oracle

    def _waiting(self) -> Iterator[StepRow]:
        for run in self.witness.rows.steps.values():
            if run.state is StepState.WAITING and not self.witness.rows.tasks[run.task].cancel_by:
                yield run

    def _request(self, run: StepRow) -> Request:
        order = self.witness.play.orders[run.task - 1]
        step = self.witness.play.step(run.task, run.step)
        asked = step_request(
            step, location_of(step, {}), PoolChoice(pool_of(step), ""), order.slot, priority=order.priority
        )
        number = sum((row.task, row.step) == (run.task, run.step) for row in self.witness.rows.attempts.values()) + 1
        return attempt_request(asked, run.task, step.key, number, run.since or 0.0)

    # Who rests.

    def _who_rests(self) -> Iterator[tuple[str, float]]:
        """Yield the tasks of which nothing goes on, each with the moment since when something should."""
        rows = self.witness.rows
        for task in rows.tasks.values():
            if task.state is not TaskState.RUNNING or task.cancel_by:
                continue
            runs = [run for run in rows.steps.values() if run.task == task.number]
            tries = [row for row in rows.attempts.values() if row.task == task.number]
            if any(row.state in LIVE for row in tries) or any(run.state is StepState.WAITING for run in runs):
                continue
            paused = [self._due(run, tries) for run in runs if run.state is StepState.RUNNING]
            yield f"task/{task.number}", min(paused, default=0.0)

    def _due(self, run: StepRow, tries: list[Row]) -> float:
        last = [row for row in tries if row.step == run.step][-1]
        ended = last.finished_at if last.lost_at is None else last.lost_at
        return max(ended or 0.0, self._calm_since) + self.witness.play.step(run.task, run.step).retry.backoff.seconds

    # Who is overtaken.

    def _look_at_order(self, wall: float) -> None:
        """Nobody who wants the one machine of a pool for himself sees more grants of others than their projects are.

        Who came before in one's own project goes before, and counts for nothing.
        """
        for run in self._waiting():
            step = self.witness.play.step(run.task, run.step)
            if step.isolation != "exclusive" or step.mutex is not None:
                continue
            since = max(run.since or 0.0, self._calm_since)
            later = [row for row in self.witness.rows.attempts.values() if row.granted_at > since + LATELY]
            self._look_at_later(run, step, later)

    def _look_at_later(self, run: StepRow, step: Step, later: list[Row]) -> None:
        play, order = self.witness.play, self.witness.play.orders[run.task - 1]
        if sum(pool_of(step) in machine.pools for machine in play.machines) != 1:
            return
        own = sum(play.orders[row.task - 1].slot.project == order.slot.project for row in later)
        before = [row for row in later if self._is_rival(row, run, step, order)]
        projects = {each.slot.project for each in play.orders}
        most = (len(projects) - 1) * (1 + own)
        if len(before) > most:
            tickets = ", ".join(row.ticket for row in before)
            self.witness.blame(
                "G8", f"step {run.step} of task {run.task} waits, and more than {most} went before it: {tickets}"
            )

    def _is_rival(self, row: Row, run: StepRow, step: Step, order: Order) -> bool:
        other = self.witness.play.orders[row.task - 1]
        is_here = pool_of(self.witness.play.step(row.task, row.step)) == pool_of(step)
        if not is_here or row.task == run.task or other.priority > order.priority:
            return False
        is_of_one_flow = (other.slot.project, other.priority) == (order.slot.project, order.priority)
        since = self._waited_since.get((row.task, row.step), row.granted_at)
        return not (is_of_one_flow and (since, row.task) < (run.since or 0.0, run.task))


def _as_looked_at(tx: SqliteConnection, fleet: Fleet, wall: float) -> Fleet:
    """Let workers whose drain is over be drained until the look at drains that comes next."""
    late = tx.all("SELECT worker FROM overrides WHERE until > ?", tx.now(wall) - EVERY)
    workers = {name: replace(fleet.workers[name], state="draining") for (name,) in late if name in fleet.workers}
    return replace(fleet, workers={**fleet.workers, **workers})


def _turn(number: int, order: Order) -> Request:
    return turn_request(number, order.slot, order.tag, priority=order.priority, since=order.at)
