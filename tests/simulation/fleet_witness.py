"""Who sees everything in a fleet: which scripts live where, under which tokens, and every row as it is committed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reconciler.model.live import AttemptState, StepState, TaskState
from reconciler.protocol.tickets import TicketId
from reconciler.store.sqlite import SqliteConnection
from tests.simulation.fleet_play import Conduct, Play
from tests.simulation.network import control_of
from tests.simulation.witness import PROOFLESS, Witness, _ending, _printed

LIVE = frozenset({AttemptState.GRANTED, AttemptState.RUNNING})


class Row(NamedTuple):
    """An attempt as it was committed."""

    ticket: str
    task: int
    step: int
    number: int
    worker: str
    token: int
    state: AttemptState
    ending: str
    granted_at: float
    finished_at: float | None
    lost_at: float | None
    log_length: int


class StepRow(NamedTuple):
    """A step run as it was committed."""

    task: int
    step: int
    state: StepState
    since: float | None


class TaskRow(NamedTuple):
    """A task as it was committed."""

    number: int
    state: TaskState
    cancel_by: str


class Rows(NamedTuple):
    """What a transaction left."""

    attempts: Mapping[str, Row]
    steps: Mapping[tuple[int, int], StepRow]
    tasks: Mapping[int, TaskRow]


NOTHING = Rows({}, {}, {})


def rows_of(tx: SqliteConnection) -> Rows:
    """Read everything that guarantees are about."""
    attempts = (
        Row(*row[:6], AttemptState(row[6]), *row[7:])
        for row in tx.all(
            "SELECT ticket, task, step, number, worker, token, state, ending, granted_at, finished_at, lost_at, log_length"
            " FROM attempts ORDER BY task, step, number"
        )
    )
    steps = (
        StepRow(task, step, StepState(state), since)
        for task, step, state, since in tx.all("SELECT task, position, state, since FROM step_runs")
    )
    tasks = (
        TaskRow(number, TaskState(state), by)
        for number, state, by in tx.all("SELECT id, state, cancel_by FROM tasks ORDER BY id")
    )
    return Rows(
        {row.ticket: row for row in attempts},
        {(row.task, row.step): row for row in steps},
        {row.number: row for row in tasks},
    )


@dataclass
class FleetWitness(Witness):
    """Watches a whole fleet; `bound` says how many attempts a worker or a pool may have, `belongs` who is in a pool."""

    play: Play
    durable: Callable[[TicketId], bytes]
    bound: Callable[[str], int | None] = lambda _: None
    belongs: Callable[[str, str], bool] = lambda *_: True
    rows: Rows = NOTHING
    places: dict[TicketId, str] = field(default_factory=dict)
    """Where each script was started."""
    _tokens: dict[TicketId, Mapping[str, int]] = field(default_factory=dict)
    _last_tokens: dict[str, tuple[int, TicketId]] = field(default_factory=dict)
    _last_grants: dict[str, int] = field(default_factory=dict)
    _acknowledged_by: dict[str, dict[TicketId, int]] = field(default_factory=dict)

    def conduct_of(self, ticket: TicketId) -> Conduct:
        """Say what a script does."""
        task, step, _ = parts(ticket)
        return self.play.conduct(task, step)

    # Scripts.

    def spawn_on(self, ticket: TicketId, worker: str) -> Sequence[bytes]:
        """Take that a script starts on a worker and return what it prints."""
        self.starts[ticket] += 1
        if self.starts[ticket] > 1:
            self.blame("G1", f"the script of {ticket} was started {self.starts[ticket]} times")
        recorded = self._recorded.get(ticket)
        if recorded is not None and _ending(recorded)["is"] == "NotStarted":
            self.blame("G2", f"{ticket} was started after it was recorded as never started")
        self.places[ticket] = worker
        for other in sorted(self.alive):
            self._look_at_pair(ticket, other)
        for resource in self._alone(ticket):
            self._look_at_token(ticket, resource)
        self.alive.add(ticket)
        return self.conduct_of(ticket).pieces

    def _look_at_pair(self, ticket: TicketId, other: TicketId) -> None:
        if parts(ticket)[:2] == parts(other)[:2] and not self._was_given_up(other):
            self.blame("G2", f"{ticket} was started while {other} lives")
        for resource in set(self._alone(ticket)) & set(self._alone(other)):
            self.blame("G3", f"{ticket} was started while {other} lives, and both have {resource} alone")
        is_beside = self.places[ticket] == self.places[other]
        if is_beside and (self._is_exclusive(ticket) or self._is_exclusive(other)):
            self.blame("G3", f"{ticket} was started on {self.places[ticket]} beside {other}, and one is to run alone")

    def _was_given_up(self, ticket: TicketId) -> bool:
        row = self.rows.attempts.get(ticket)
        if row is None:
            return False
        return row.lost_at is not None or self.rows.tasks[row.task].state is TaskState.ABANDONED

    def _alone(self, ticket: TicketId) -> Iterator[str]:
        """Yield what an attempt has alone, by the names that tokens have."""
        task, number, _ = parts(ticket)
        step, worker = self.play.step(task, number), self.places[ticket]
        if step.isolation == "exclusive":
            yield f"worker/{worker}"
        if step.mutex is not None:
            ending = {"machine": f" on {worker}", "pool": f" of {pool_of(step)}", "space": ""}[step.mutex.scope]
            yield f"mutex/{step.mutex.name}{ending}"

    def _is_exclusive(self, ticket: TicketId) -> bool:
        task, number, _ = parts(ticket)
        return self.play.step(task, number).isolation == "exclusive"

    def _look_at_token(self, ticket: TicketId, resource: str) -> None:
        token = self._tokens.get(ticket, {}).get(resource, 0)
        last, holder = self._last_tokens.get(resource, (0, TicketId("nobody")))
        if token <= last:
            self.blame("G3", f"{ticket} has {resource} under {token}, and {holder} had it under {last}")
        self._last_tokens[resource] = token, ticket

    def exit(self, ticket: TicketId) -> int:
        self.alive.discard(ticket)
        return self.conduct_of(ticket).exit_of(parts(ticket)[2])

    def died_on(self, worker: str) -> None:
        """Take that every script on a worker is dead."""
        self.alive = {ticket for ticket in self.alive if self.places[ticket] != worker}

    # Frames.

    def hear(self, node: str) -> None:
        """Take that what is acknowledged from now on, or kept, is by one of several nodes: each has logs of its own."""
        self.acknowledged = self._acknowledged_by.setdefault(node, {})

    def said_by_server(self, frame: bytes) -> None:
        super().said_by_server(frame)
        said = control_of(frame)
        if said.get("message") == "OFFER":
            spec = said["spec"]
            assert isinstance(spec, dict)
            self._tokens[TicketId(spec["ticket"])] = spec["lease_tokens"]

    # Rows.

    def took(self, rows: Rows) -> None:
        """Look at what a transaction left."""
        before, self.rows = self.rows, rows
        for row in rows.attempts.values():
            former = before.attempts.get(row.ticket)
            if former == row:
                continue
            self._look_at(row)
            if former is None:
                self._look_at_grant(row)
        for key, step in rows.steps.items():
            if before.steps.get(key) != step:
                self._look_at_step(step, before.steps.get(key))
        for number, task in rows.tasks.items():
            if before.tasks.get(number) != task:
                self._look_at_task(task)

    def _look_at_grant(self, row: Row) -> None:
        if row.token <= self._last_grants.get(row.worker, 0):
            self.blame(
                "G3", f"{row.ticket} has a place on {row.worker} under a token that is not higher than all before"
            )
        self._last_grants[row.worker] = row.token
        for former in self.rows.attempts.values():
            if (former.task, former.step) == (row.task, row.step) and former.number < row.number:
                self._look_at_former(former)
        pool = pool_of(self.play.step(row.task, row.step))
        if not self.belongs(row.worker, pool):
            self.blame("G3", f"{row.ticket} has a place on {row.worker}, which is not in {pool}")
        live = [each for each in self.rows.attempts.values() if each.state in LIVE]
        here = sum(each.worker == row.worker for each in live)
        there = sum(pool_of(self.play.step(each.task, each.step)) == pool for each in live)
        for name, count in ((f"worker/{row.worker}", here), (f"pool/{pool}", there)):
            bound = self.bound(name)
            if bound is not None and count > bound:
                self.blame("G3", f"{row.ticket} is one of {count} attempts of {name}, which may have {bound}")

    def _look_at_former(self, former: Row) -> None:
        repeats = self.play.step(former.task, former.step).retry.on_worker_lost
        is_lost = former.state is AttemptState.LOST
        if former.state in LIVE or (is_lost and not repeats):
            self.blame("G2", f"{former.ticket} was followed by another attempt without any proof")
        if former.state is AttemptState.ENDED and _ending(former)["is"] in PROOFLESS and not repeats:
            self.blame("G2", f"{former.ticket} was lost, and repeated though it may not be")

    def _look_at_step(self, step: StepRow, before: StepRow | None) -> None:
        if before is not None and before.state.ended:
            self.blame("G3", f"step {step.step} of task {step.task} was {before.state}, and then {step.state}")
        if not step.state.ended:
            return
        tries = [row for row in self.rows.attempts.values() if (row.task, row.step) == (step.task, step.step)]
        newest = tries[-1] if tries else None
        if newest is not None and newest.state in LIVE and self.rows.tasks[step.task].state is not TaskState.ABANDONED:
            self.blame("G3", f"step {step.step} of task {step.task} became {step.state} while {newest.ticket} lives")
        if step.state is StepState.SUCCEEDED:
            ending = _ending(newest) if newest is not None and newest.state is AttemptState.ENDED else {}
            if ending.get("is") != "Exited" or ending.get("code") != 0:
                self.blame("G3", f"step {step.step} of task {step.task} succeeded, and its newest attempt did not")
        if step.state is StepState.CANCELLED:
            self._nothing_lives("G6", step.task, step.step)

    def _look_at_task(self, task: TaskRow) -> None:
        if task.state is TaskState.CANCELLED:
            self._nothing_lives("G6", task.number)
        if task.state is not TaskState.RUNNING:
            return
        tag = self.play.orders[task.number - 1].tag
        for other in self.rows.tasks.values():
            is_beside = other.number != task.number and other.state in {TaskState.RUNNING, TaskState.CANCELLING}
            if is_beside and self.play.orders[other.number - 1].tag == tag:
                self.blame("G3", f"task {task.number} runs beside task {other.number}, and both have {tag} alone")

    def _nothing_lives(self, guarantee: str, task: int, step: int | None = None) -> None:
        for ticket in sorted(self.alive):
            is_known = step is None or (step == parts(ticket)[1] and not self._was_given_up(ticket))
            if parts(ticket)[0] == task and is_known:
                self.blame(guarantee, f"cancelled was recorded while {ticket} lives")

    def ended(self, rows: Sequence[Row], logs: Mapping[TicketId, bytes]) -> None:
        self.kept(logs)
        for row in rows:
            ticket, log = TicketId(row.ticket), logs.get(TicketId(row.ticket), b"")
            if len(log) != row.log_length:
                self.blame("G4", f"the log of {ticket} has {len(log)} bytes, {row.log_length} were recorded")
            if _ending(row)["is"] == "Exited" and _printed(log) != b"".join(self.conduct_of(ticket).pieces):
                self.blame("G4", f"the log of {ticket} is not what the script printed")


def parts(ticket: str) -> tuple[int, int, int]:
    """Return task, index of the step and number of an attempt."""
    task, step, number, _ = ticket.split("-")
    return int(task), int(step) - 1, int(number)


def pool_of(step: object) -> str:
    """Return the pool that a step of a play names."""
    return str(step.location.pool)  # type: ignore[attr-defined]  # every step of a play has a location of its own
